"""The harness: which figures run, and what the file then says. No figure is measured here."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.speed.__main__ import MODULES
from tests.speed.bench import BAD_USAGE, DONE, FAILED, run
from tests.speed.figure import Figure, Measurement, figure, figures_of, require, select


def measured(name: str, ours: float = 2.0, *, more_is_better: bool = False) -> Figure:
    """A figure that needs no time."""
    return Figure(name, lambda _: Measurement(ours, 8.0, "the peer", "s", "equal rows", more_is_better))


@figure("cache.broken")
def broken(scratch: Path) -> Measurement:
    require(scratch.is_file(), "the rows differ")
    raise AssertionError("a failed check does not go on")


def written(path: Path) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in json.loads(path.read_text())}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "build" / "bench.json"


def test_a_record_has_every_field_and_tells_neither_host_nor_path(path: Path) -> None:
    assert run([measured("cache.hit")], "", path) == DONE
    record = written(path)["cache.hit"]
    at = datetime.fromisoformat(record.pop("at"))
    assert at.utcoffset() == timedelta(0)
    machine = record.pop("machine")
    assert set(machine) == {"cpu", "cores", "memory_gib"}
    assert machine["cpu"]
    assert machine["cores"] >= 1
    assert machine["memory_gib"] > 0
    assert record == {
        "name": "cache.hit", "ours": 2.0, "peer": 8.0, "peer_name": "the peer", "unit": "s", "ratio": 4.0,
        "checked": "equal rows",
    }  # fmt: skip


def test_the_ratio_is_above_one_where_we_are_ahead() -> None:
    assert measured("less", 4.0).measure(Path()).ratio == 2.0
    assert measured("more", 4.0, more_is_better=True).measure(Path()).ratio == 0.5


def test_a_prefix_selects_figures_by_the_beginning_of_their_names() -> None:
    figures = [measured("cache.hit"), measured("cache.miss"), measured("hit.cache")]
    assert [each.name for each in select(figures, "cache")] == ["cache.hit", "cache.miss"]
    assert select(figures, "") == figures


def test_only_selected_figures_are_replaced(path: Path) -> None:
    assert run([measured("cache.hit"), measured("scan.rows")], "", path) == DONE
    assert run([measured("cache.hit", 1.0), measured("scan.rows", 1.0)], "scan", path) == DONE
    assert {name: record["ours"] for name, record in written(path).items()} == {"cache.hit": 2.0, "scan.rows": 1.0}


def test_a_failed_check_fails_the_bench_but_not_the_other_figures(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([broken, measured("cache.hit")], "", path) == FAILED
    assert set(written(path)) == {"cache.hit"}
    assert "cache.broken: the rows differ" in capsys.readouterr().err


def test_a_figure_that_fails_or_is_gone_leaves_no_old_numbers(path: Path) -> None:
    assert run([measured("cache.broken"), measured("cache.gone"), measured("scan.rows")], "", path) == DONE
    assert run([broken, measured("scan.rows")], "cache", path) == FAILED
    assert set(written(path)) == {"scan.rows"}


def test_an_unknown_prefix_is_refused_and_changes_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([measured("cache.hit")], "cash", path) == BAD_USAGE
    assert "no figure begins with 'cash'; there are cache.hit" in capsys.readouterr().err
    assert not path.exists()


def test_a_file_that_is_no_list_of_records_is_kept_and_named(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir()
    path.write_text('{"figures": []}')
    assert run([measured("cache.hit")], "", path) == BAD_USAGE
    assert "bench.json cannot be read" in capsys.readouterr().err
    assert path.read_text() == '{"figures": []}'


def test_nothing_but_the_file_remains(path: Path) -> None:
    assert run([measured("cache.hit")], "", path) == DONE
    assert list(path.parent.iterdir()) == [path]


def test_the_modules_figures_are_found_once_each() -> None:
    names = [each.name for each in figures_of(MODULES)]
    assert names[:2] == ["rerun.cached", "overhead.orchestration"]
    twice = ModuleType("twice")
    vars(twice).update(first=measured("cache.hit"), second=measured("cache.hit"))
    with pytest.raises(ValueError, match=r"two figures are named cache\.hit"):
        figures_of([twice])
