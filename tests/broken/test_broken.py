"""Whatever is wrong with an input, it is a counted reject or an error in plain words."""

from collections import Counter
from pathlib import Path

import pytest

from tasks.artifacts.resource import read_resource
from tasks.artifacts.store import Store
from tasks.ingestion import IngestionConfig, Source, ingest
from tasks.sources import UnreadableFileError
from tests.broken import files, rows
from tests.broken.case import Case

CASES: list[Case] = [*files.CASES, *rows.CASES]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    made = Store(str(tmp_path_factory.mktemp("broken") / "store"))
    made.probe()
    return made


def test_cases_are_many_and_differ() -> None:
    assert len(CASES) >= 200
    assert Counter(case.name for case in CASES).most_common(1)[0][1] == 1
    assert len({(case.file, case.data, str(case.settings)) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_broken_input_is_counted_or_named(case: Case, tmp_path: Path, store: Store) -> None:
    path = tmp_path / case.file
    path.write_bytes(case.data)
    source = Source.model_validate({"name": "broken", "uri": str(path), **case.settings})
    resource = read_resource(source.uri, facts=source.reading())
    everything = IngestionConfig(max_reject_ratio=1.0)
    if case.error is not None:
        with pytest.raises(UnreadableFileError, match=case.error) as caught:
            ingest(store, everything, [resource])
        assert case.file in str(caught.value)
        return
    made = ingest(store, everything, [resource])
    rejected = list(store.rows(made, "rejected"))
    assert Counter(row["cause"] for row in rejected) == made.counts.dropped == case.rejects
    assert made.counts.read == made.counts.kept + len(rejected)
    assert made.tables["conversations"].rows == made.counts.kept
    assert case.read in (None, made.counts.read)
    for row in rejected:
        assert (row["source"], row["file"]) == ("broken", case.file)
        assert row["line"] >= 1
