"""The metrics by name, and how their samples are gathered."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

MOST_RECIPES = 50
MOST_REASONS = 30
MOST_MEASURES = 50
"""So many values of a label are exported, that no store floods Prometheus; of reasons the rest is one more, `other`."""


class Meaning(NamedTuple):
    """What a metric tells, and by which labels."""

    labels: tuple[str, ...]
    help: str


METRICS = {
    "fettle_up": Meaning(("source",), "1 where the store, and Prefect's API where one is set, answered just now."),
    "fettle_reading_seconds": Meaning(("source",), "How long the last reading of a source took."),
    "fettle_recipes": Meaning((), f"Recipes with runs in the store; the {MOST_RECIPES} run last have metrics."),
    "fettle_runs_total": Meaning(("recipe", "outcome"), "Runs that ended, by how they did."),
    "fettle_runs_open": Meaning(("recipe",), "Runs whose record says that they go on; one that was killed stays so."),
    "fettle_run_seconds_total": Meaning(("recipe",), "Wall time of the runs that ended."),
    "fettle_last_run_seconds": Meaning(("recipe",), "Wall time of the last run that ended."),
    "fettle_last_run_timestamp_seconds": Meaning(("recipe", "outcome"), "When the last run of an outcome began."),
    "fettle_stages_total": Meaning(("recipe", "stage", "cache"), "Stages of runs, by whether the cache had them."),
    "fettle_stage_seconds_total": Meaning(("recipe", "stage"), "Wall time of stages that were computed."),
    "fettle_rows_read": Meaning(("recipe", "stage"), "Rows that a stage read, as last run."),
    "fettle_rows_kept": Meaning(("recipe", "stage"), "Rows that a stage kept, as last run."),
    "fettle_rows_dropped": Meaning(("recipe", "stage", "reason"), "Rows that a stage dropped, as last run."),
    "fettle_gate_verdicts": Meaning(("recipe", "verdict"), "Ended runs by the gate's verdict, while it is stored."),
    "fettle_gate_last_verdict": Meaning(("recipe", "verdict"), "1 for the verdict of the last run that was evaluated."),
    "fettle_score": Meaning(
        ("recipe", "measure", "model", "unit"), "Scores of the last evaluation: of base, tuned and production."
    ),
    "fettle_training_under_way": Meaning(("recipe",), "1 where the training metrics are of a training that goes on."),
    "fettle_training_steps": Meaning(("recipe",), "Optimiser steps of the last training, or of its newest checkpoint."),
    "fettle_training_loss": Meaning(("recipe",), "Loss of its last step, in nats a trained token."),
    "fettle_training_heldout_loss": Meaning(("recipe",), "Lowest held-out loss so far, in nats a trained token."),
    "fettle_training_tokens_per_second": Meaning(("recipe",), "Its tokens a second, without evaluations."),
    "fettle_training_tokens": Meaning(("recipe",), "Tokens that it was shown, without padding."),
    "fettle_training_device_seconds": Meaning(("recipe",), "Device time of the last training that ended."),
    "fettle_training_cost": Meaning(("recipe",), "Its price, where the recipe prices a device-hour."),
    "fettle_model_version": Meaning(("model", "alias"), "The version that an alias points to."),
    "fettle_model_published_timestamp_seconds": Meaning(("model", "alias"), "When that version was published."),
    "fettle_model_moved_timestamp_seconds": Meaning(("model", "alias"), "When the alias was last moved."),
    "fettle_models_waiting": Meaning(("model",), "1 where the newest version waits for a person's approval."),
    "fettle_flow_runs": Meaning(("flow", "state"), "Flow runs that Prefect knows and that were due, by state."),
    "fettle_flow_runs_late": Meaning(("flow",), "Flow runs that should have begun and that no worker took."),
    "fettle_workers": Meaning(("pool", "status"), "Workers of Fettle's work pools."),
    "fettle_worker_heartbeat_timestamp_seconds": Meaning(("pool",), "When a pool last heard of a worker."),
}
"""Every metric that the board exports. What ends in `_total` only grows; the others tell how things stand."""


class Samples:
    """Samples by metric, in the order in which they were given."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def add(self, name: str, value: float | None, *labels: str) -> None:
        """One sample, its labels in the metric's order; nothing where there is no value."""
        if value is None:
            return
        if name not in self._families:
            meaning = METRICS[name]
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            self._families[name] = kind(name, meaning.help, labels=meaning.labels)
        self._families[name].add_metric(labels, value)

    def families(self) -> list[Metric]:
        """What Prometheus's client writes out."""
        return list(self._families.values())


class Exposition:
    """Gives the samples anew to everybody who asks; a collector in the sense of Prometheus's client."""

    def __init__(self, samples: Callable[[], Iterable[Metric]]) -> None:
        self._samples = samples
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """All samples, just gathered."""
        return self._samples()

    def describe(self) -> Iterable[Metric]:
        """Nothing, so that registering gathers nothing."""
        return []
