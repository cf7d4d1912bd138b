"""Fixtures and settings for all tests."""

import os

import hypothesis

pytest_plugins = ["tests.servers.fixtures", "tests.servers.browser", "tests.servers.warm"]

# Workers side by side share the cores: one thread each is faster than threads that wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no fault of the code under test.
hypothesis.settings.register_profile("fettle", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("fettle")
