"""Fixtures and settings for all tests."""

import os

pytest_plugins = ["tests.servers.fixtures"]

# Workers side by side share the cores: one thread each is faster than threads that wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
