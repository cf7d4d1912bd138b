"""Real data through all eight stages. The test is a smaller helping of `real_data.yaml`, which is run whole by hand."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tasks.artifacts.store import Store
from tests.flows.conftest import REPOSITORY, Fettle
from tests.flows.following import assert_every_row_is_followed

pytestmark = pytest.mark.xdist_group("flows-real_data")  # one worker, as a server is started for each

DATA = REPOSITORY.parent / "shared" / "data"
RECIPE = REPOSITORY / "tests" / "flows" / "real_data.yaml"
ROWS = 2000
"""Of each source; the data stages have a test of their own on all rows."""


def first_rows(folder: Path) -> list[str]:
    """Overrides of the recipe that name files with the first rows of its sources."""
    found = []
    for number, source in enumerate(yaml.safe_load(RECIPE.read_text())["sources"]):
        whole, cut = RECIPE.parent / source["uri"], folder / f"{source['name']}.parquet"
        pq.write_table(pa.Table.from_batches([next(pq.ParquetFile(whole).iter_batches(ROWS))]), cut)
        found += ["--set", f"sources.{number}.uri={cut}"]
    return found


@pytest.mark.soak
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")
def test_real_data_run_to_a_verdict_and_every_row_is_followed(fettle: Fettle, tmp_path: Path) -> None:
    answer = fettle(
        "run", str(RECIPE), "--store", str(tmp_path / "store"), "--json", *first_rows(tmp_path),
        "--set", "mixing.total=200", "--set", "training.evaluations=1", "--set", "training.heldout_rows=16",
        "--set", "evaluation.heldout_rows=32", "--set", "evaluation.samples=4",
        "--set", "evaluation.benchmarks.0.max_items=50", "--set", "evaluation.benchmarks.1.max_items=25",
    )  # fmt: skip
    assert answer.code in (0, 3), answer.err
    assert answer.json["verdict"] in ("pass", "underpowered", "investigate", "fail")
    assert_every_row_is_followed(Store(str(tmp_path / "store")))
