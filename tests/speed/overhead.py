"""What the house itself costs: start, server, cache keys, commits, records and the demo's data, all but the stages."""

import json
from pathlib import Path
from typing import Any

from tests.speed.demo_run import DemoRun, cold_run
from tests.speed.figure import Measurement, figure, require

BUDGET_SHARE = 0.10


@figure("overhead.orchestration")
def orchestration(scratch: Path) -> Measurement:
    """Share of a cold demo run's wall time that no stage computes in; a new profile's database is part of it."""
    cold = cold_run(scratch)
    manifests = _manifests(cold)
    compute_seconds = sum(manifest["provenance"]["seconds"] for manifest in manifests)
    share = 1 - compute_seconds / cold.wall_seconds
    require(0 < share < 1, f"stages computed for {compute_seconds:.1f} s of {cold.wall_seconds:.1f} s; it cannot be")
    rows = _conserved_rows(manifests)
    return Measurement(
        ours=share,
        peer=BUDGET_SHARE,
        peer_name="budget",
        unit="share",
        checked=f"all {len(manifests)} stages were computed in this run ({compute_seconds:.1f} s of "
        f"{cold.wall_seconds:.1f} s), and each manifest's rows are conserved ({rows:,} read = kept + dropped)",
    )


def _manifests(cold: DemoRun) -> list[dict[str, Any]]:
    """The stages' manifests, read as plain JSON: nothing that Fettle asserts on reading is taken for granted."""
    addresses = [stage.address for stage in cold.record.stages]
    require(len(set(addresses)) == len(addresses), "two stages of the cold run share an artifact")
    manifests: list[dict[str, Any]] = [
        json.loads((cold.store / address / "manifest.json").read_bytes()) for address in addresses
    ]
    flow_runs = {manifest["provenance"]["flow_run"] for manifest in manifests}
    require(len(flow_runs) == 1 and None not in flow_runs, "the artifacts of the cold run come from several runs")
    return manifests


def _conserved_rows(manifests: list[dict[str, Any]]) -> int:
    """Rows read by all stages; raises `CheckError` where a stage lost or made one."""
    for manifest in manifests:
        counts = manifest["counts"]
        gone = counts["read"] - counts["kept"] - sum(counts["dropped"].values())
        require(gone == 0, f"{manifest['identity']['stage']}: {gone:+,} of {counts['read']:,} rows are unaccounted for")
    return sum(manifest["counts"]["read"] for manifest in manifests)
