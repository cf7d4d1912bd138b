"""Real data through all eight stages. The test is a smaller helping of `real_data.yaml`, which is run whole by hand."""

from pathlib import Path

import pytest

from tasks.artifacts.store import Store
from tests.flows.conftest import REPOSITORY, Fettle
from tests.flows.following import assert_every_row_is_followed

pytestmark = pytest.mark.xdist_group("demo")  # one worker, as the costly fixtures are made once a worker

DATA = REPOSITORY.parent / "shared" / "data"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")
def test_real_data_run_to_a_verdict_and_every_row_is_followed(fettle: Fettle, tmp_path: Path) -> None:
    answer = fettle(
        "run", str(REPOSITORY / "tests" / "flows" / "real_data.yaml"), "--store", str(tmp_path / "store"), "--json",
        "--set", "mixing.total=400", "--set", "training.evaluations=1", "--set", "training.heldout_rows=32",
        "--set", "evaluation.heldout_rows=64", "--set", "evaluation.samples=4",
        "--set", "evaluation.benchmarks.0.max_items=200", "--set", "evaluation.benchmarks.1.max_items=100",
    )  # fmt: skip
    assert answer.code in (0, 3), answer.err
    assert answer.json["verdict"] in ("pass", "underpowered", "investigate", "fail")
    assert_every_row_is_followed(Store(str(tmp_path / "store")))
