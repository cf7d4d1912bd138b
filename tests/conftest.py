"""Fixtures and settings for all tests."""

import gc
import os

import hypothesis

pytest_plugins = ["tests.servers.fixtures", "tests.servers.browser", "tests.servers.warm"]

# Workers side by side share the cores: one thread each is faster than threads that wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A busy machine is no fault of the code under test.
hypothesis.settings.register_profile(
    "fettle", max_examples=25, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("thorough", hypothesis.settings.get_profile("fettle"), max_examples=500)
hypothesis.settings.load_profile("fettle")

# The workers hold millions of objects of the libraries that they import: looking through them all takes a second.
gc.set_threshold(50_000, 20, 100)
