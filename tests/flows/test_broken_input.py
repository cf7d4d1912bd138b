"""Broken input from the command line: an answer in words, never a traceback."""

from pathlib import Path

import pytest
import yaml

from tests.broken.files import CASES
from tests.flows.conftest import Fettle

pytestmark = pytest.mark.xdist_group("flows-broken_input")  # one worker, as a server is started for each

NAMES = (
    "a Parquet cut in its footer",
    "a line over the limit",
    "UTF-16 with its mark",
    "a pointer of Git LFS",
    "only blank lines",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_run_says_what_is_wrong_with_its_input(name: str, fettle: Fettle, workplace: Path) -> None:
    (case,) = [case for case in CASES if case.name == name]
    (workplace / "sources" / case.file).write_bytes(case.data)
    recipe = yaml.safe_load((workplace / "recipe.yaml").read_text())
    recipe["sources"] = [{"name": "broken", "uri": f"sources/{case.file}"}]
    recipe["ingestion"] = {"max_reject_ratio": 0}
    (workplace / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    # A run takes seconds to begin; an exact plan reads the same rows in the same way.
    answer = fettle(*(["run", "recipe.yaml"] if name == NAMES[0] else ["plan", "recipe.yaml", "--exact"]))
    told = answer.out + answer.err
    assert answer.code not in (0, None)
    assert "Traceback" not in told
    for words in case.rejects or [case.file]:
        assert words in told
