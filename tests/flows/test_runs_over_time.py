"""Runs over time: scores are subtracted only where the same was asked."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from flows.runs_over_time import run_facts
from tasks.artifacts import runs
from tasks.artifacts.manifest import Counts, Identity
from tasks.artifacts.store import Store
from tasks.gate_record import GATES
from tasks.reporting.over_time import courses

MEASURES = ("mmlu", "arc", "held-out loss", "apology rate")


def run(store: Store, name: str, asked: dict[str, str], heldout: str) -> runs.Run:
    """A run that asked these questions by benchmark, and measured loss on these rows."""
    with store.attempt(Identity(stage="measurement", version=1, config={"of": name}, parents=())) as attempt:
        rows = [{"benchmark": each, "prompt_sha256": question} for each, said in asked.items() for question in said]
        attempt.write("answers", pa.Table.from_pylist(rows))
        attempt.write("heldout", pa.table({"row_id": list(heldout)}))
        attempt.counts = Counts(read=1, kept=1)
        measured = attempt.commit({})
    with store.attempt(Identity(stage="evaluation", version=1, config={"of": name}, parents=())) as attempt:
        score = {"unit": "%", "better": "higher", "tuned": 50.0, "verdict": "pass", "items": 2, "against": "base"}
        gates = {"verdict": "pass", "reason": "", "measured": {"tuned": measured.address}}
        attempt.write_file(
            GATES, json.dumps({**gates, "scores": [{**score, "name": each} for each in MEASURES]}).encode()
        )
        attempt.counts = Counts(read=1, kept=1)
        evaluated = attempt.commit({})
    stage = runs.StageRecord(stage="evaluation", verb="evaluate", address=evaluated.address, cached=False, seconds=1)
    return runs.Run(id=name, recipe_name="m", recipe={}, started=f"{name}T00:00:00+00:00", stages=(stage,))


@pytest.mark.parametrize(
    ("asked", "heldout", "comparable"),
    [
        ({"mmlu": "ab", "arc": "cd"}, "xy", set(MEASURES)),
        ({"mmlu": "ba", "arc": "dc"}, "yx", set(MEASURES)),
        ({"mmlu": "ab", "arc": "cd"}, "xz", {"mmlu", "arc", "apology rate"}),
        ({"mmlu": "ab", "arc": "ce"}, "xy", {"mmlu", "held-out loss"}),
    ],
    ids=["the same", "in another order", "other held-out rows", "another benchmark's items"],
)
def test_a_measure_is_compared_where_its_own_questions_are_the_same(
    tmp_path: Path, asked: dict[str, str], heldout: str, comparable: set[str]
) -> None:
    store = Store(str(tmp_path / "store"))
    first = run(store, "2026-01-01", {"mmlu": "ab", "arc": "cd"}, "xy")
    second = run(store, "2026-01-02", asked, heldout)
    found = courses(run_facts(store, [second, first])[::-1])
    assert {course.name for course in found if course.change is not None} == comparable


def test_a_change_of_a_named_part_is_told_by_its_name(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "store"))
    first, second = (run(store, f"2026-01-0{day}", {"mmlu": "ab"}, "xy") for day in (1, 2))
    recipes = [{"sources": [{"name": "a", "uri": "a.csv"}, {"name": "b", "uri": uri}]} for uri in ("b.csv", "c.csv")]
    first, second = (
        each.model_copy(update={"recipe": recipe}) for each, recipe in zip((first, second), recipes, strict=True)
    )
    assert run_facts(store, [second, first])[0].changed == {"sources.b.uri": "b.csv → c.csv"}
