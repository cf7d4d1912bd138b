"""What a run costs when nothing has changed since the last one."""

from pathlib import Path
from statistics import median

from tests.speed.demo_run import DemoRun, cold_run, demo_run
from tests.speed.figure import Measurement, figure, require

REPEATS = 3


@figure("rerun.cached")
def cached(scratch: Path) -> Measurement:
    """Wall seconds of a demo run with every stage cached, against the run that computed them."""
    cold = cold_run(scratch)
    again = [demo_run(scratch) for _ in range(REPEATS)]
    for run in again:
        _require_same(run, cold)
    return Measurement(
        ours=median(run.wall_seconds for run in again),
        peer=cold.wall_seconds,
        peer_name="cold run",
        unit="s",
        checked=f"in {REPEATS} reruns all {len(cold.record.stages)} stages were cached at the cold run's addresses, "
        "and the JSON result, run id apart, equals the cold run's",
    )


def _require_same(run: DemoRun, cold: DemoRun) -> None:
    computed = [stage.verb for stage in run.record.stages if not stage.cached]
    require(not computed, f"a rerun computed {', '.join(computed)} again, though nothing had changed")
    addresses = [[stage.address for stage in each.record.stages] for each in (run, cold)]
    require(addresses[0] == addresses[1], "a rerun's stages have other addresses than the cold run's")
    absent = object()
    keys = (run.answer | cold.answer).keys() - {"run"}
    differing = [key for key in sorted(keys) if run.answer.get(key, absent) != cold.answer.get(key, absent)]
    require(not differing, f"a rerun's result differs from the cold run's in {', '.join(differing)}")
