"""A row's certificate, and the rows that entered or left between two runs: against the artifacts themselves."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from flows.certificate import Certificate, RowNotFoundError, Step, certify
from flows.recording import Recorder
from flows.row_changes import RowChanges, row_changes
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.flows.conftest import Fettle
from tests.stages.making import benchmark, byte_level, pair, prose, source, tokenizer_files

pytestmark = pytest.mark.xdist_group("flows-certificate")  # one worker, as a server is started for each

QUESTION = "Which of the seven northern harbours was opened by the old queen in the rainy spring?"
FIRST = pair(f"Please tell me about {prose(1, 40)}?", f"It is {prose(2, 60)}.")
MIXING = MixingConfig(shares={"domain": 0.6, "code": 0.4}, total=90)
Rows = Sequence[dict[str, Any]]


def faq() -> list[dict[str, Any]]:
    """Rows of every fate, the first ones at known lines."""
    near = pair(FIRST["question"], FIRST["answer"].replace("w2x30", "something"))
    known = [
        FIRST,
        dict(FIRST),
        near,
        pair("What is nothing?", " "),
        pair(QUESTION, "It was the third one, as everybody knows."),
        {"question": "x", "answer": None},
        pair(f"Tell me {prose(3, 250)}", "It is far too long to say."),
    ]
    return [
        *known,
        *(pair(f"What is the fee number {n}?", f"The fee number {n} is {n * 7} dollars.") for n in range(90)),
    ]


@dataclass
class Data:
    """A folder where runs of the data stages are made, real but for the training."""

    folder: Path

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "store"))

    def run(
        self,
        rows: Rows,
        *,
        heldout: float = 0.1,
        answer_tokens: tuple[int, int] = (0, 600),
        mixing: MixingConfig = MIXING,
        last: str = "tokenize",
        run_id: str | None = None,
    ) -> runs.Run:
        """A run over two sources; `last` is the stage that it ends with."""
        store = self.store
        store.probe()
        code = [pair(f"Write code number {n}", f"print({n}) # this is number {n}") for n in range(12)]
        sources = [source(self.folder / "faq.jsonl", rows), source(self.folder / "code.jsonl", code, "code")]
        questions = [benchmark(self.folder / "harbours.jsonl", [{"id": "h1", "question": QUESTION, "answer": "Hull"}],
                               kind="generation")]  # fmt: skip
        tokenizer = tokenizer_files(self.folder / "tokenizer", byte_level())
        lengths = CurationConfig(length=Length(prompt_tokens=(0, 3000), answer_tokens=answer_tokens))
        begun = runs.begin("fees", {})
        record = Recorder(store, begun.model_copy(update={"id": run_id or begun.id}))
        with watched_by(record), record:
            ingested = ingest(store, IngestionConfig(heldout_fraction=heldout, max_reject_ratio=0.5), sources)
            curated = curate(store, lengths, ingested.only("conversations"), tokenizer)
            if last == "curate":
                raise OSError("the disk is full")
            deduplicated = deduplicate(store, DeduplicationConfig(), curated.only("conversations"), questions)
            mixed = mix(store, mixing, deduplicated.only("conversations"))
            tokenize(store, TokenizationConfig(max_length=600), mixed.only("mixture", "heldout"), tokenizer)
            record.end("published", "")
        return record.run


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return Data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def made(data: Data) -> runs.Run:
    return data.run(faq())


def table(store: Store, run: runs.Run, stage: str, name: str) -> Iterator[dict[str, Any]]:
    address = next(record.address for record in run.stages if record.stage == stage)
    return store.rows(store.manifest(address).artifact, name)


def step(certificate: Certificate, stage: str) -> Step:
    return next(step for step in certificate.places[0].steps if step.stage == stage)


DROPPING = ("curation", "deduplication", "mixing", "tokenization")


def test_every_row_that_was_dropped_names_its_stage_reason_and_evidence(data: Data, made: runs.Run) -> None:
    seen = Counter[str]()
    for stage in DROPPING:
        for row in table(data.store, made, stage, "dropped"):
            seen[row["reason"]] += 1
            if seen[row["reason"]] > 2:
                continue
            found = certify(data.store, f"{row['source']}:{row['line']}", made.id)
            place = found.places[0]
            assert (found.id, place.file, place.line) == (row["id"], row["file"], row["line"])
            last = place.steps[-1]
            assert (last.stage, last.verdict, last.reason) == (stage, "dropped", row["reason"])
            assert last.evidence == row["evidence"]
            assert [each.stage for each in place.steps] == ["ingestion", *DROPPING[: DROPPING.index(stage) + 1]]
            assert all(each.verdict in ("read", "kept", "shown", "held out") for each in place.steps[:-1])
    assert {"empty answer", "exact duplicate", "near duplicate", "benchmark overlap", "not sampled"} <= set(seen)


def test_a_copy_names_the_row_kept_in_its_place_and_that_row_names_its_copies(data: Data, made: runs.Run) -> None:
    near = certify(data.store, "faq:3").places[0].steps[-1]
    kept = certify(data.store, near.details["kept"])
    assert (near.details["source"], near.details["file"], near.details["line"]) == ("faq", "faq.jsonl", 1)
    assert 0.8 <= near.details["similarity"] < 1
    deduplicated = step(kept, "deduplication")
    assert deduplicated.verdict == "kept"
    assert deduplicated.details["dropped_for_it"] == 2
    copies = {copy["place"]: copy["similarity"] for copy in deduplicated.details["copies"]}
    assert copies == {"faq faq.jsonl:2": 1.0, "faq faq.jsonl:3": near.details["similarity"]}


def test_a_row_that_was_trained_on_names_the_sequences_that_hold_its_tokens(data: Data, made: runs.Run) -> None:
    tokenizer = Tokenizer.from_file(str(data.folder / "tokenizer" / "tokenizer.json"))
    sequences = list(table(data.store, made, "tokenization", "sequences"))
    repeated = [row for row in table(data.store, made, "mixing", "mixture") if row["source"] == "code"]
    assert {row["copies"] for row in repeated} <= {3, 4}
    for row in repeated[:3]:
        found = certify(data.store, row["id"], made.id)
        assert step(found, "mixing").details == {"copies": row["copies"]}
        packed = step(found, "tokenization").details["sequences"]
        assert len(packed) == row["copies"] == sum(each["row_ids"].count(row["id"]) for each in sequences)
        for place in packed:
            sequence = sequences[place["sequence"]]
            assert sequence["row_ids"][place["sample"]] == row["id"]
            span = slice(place["first_token"], place["first_token"] + place["tokens"])
            assert found.answer in tokenizer.decode(sequence["input_ids"][span])
            trained = [label for label in sequence["labels"][span] if label != -100]
            assert place["trained_tokens"] == len(trained) > 0
            assert found.answer in tokenizer.decode(trained)
        passed = step(found, "curation").details
        assert [name for name in CurationConfig.model_fields if name in passed["passed"]] == passed["passed"]
        assert {"empty", "repetition", "length"} <= set(passed["passed"])
        assert (passed["prompt_tokens"], passed["answer_tokens"]) == (row["prompt_tokens"], row["answer_tokens"])


def test_a_held_out_row_is_told_as_one(data: Data, made: runs.Run) -> None:
    row = next(table(data.store, made, "mixing", "heldout"))
    found = certify(data.store, row["id"], made.id)
    assert found.places[0].split == "heldout"
    assert [(each.stage, each.verdict) for each in found.places[0].steps] == [
        ("ingestion", "read"),
        ("curation", "kept"),
        ("deduplication", "kept"),
        ("mixing", "held out"),
        ("tokenization", "held out"),
    ]


def test_content_that_stands_in_two_places_has_two_ways(data: Data, made: runs.Run) -> None:
    first = certify(data.store, "faq:1", made.id)
    second = certify(data.store, "faq.jsonl:2", made.id)
    assert first.id == second.id
    assert [place.line for place in second.places] == [2, 1]
    by_id = certify(data.store, str(first.id), made.id)
    assert [place.line for place in by_id.places] == [1, 2]
    assert by_id.places[1].steps[-1].reason == "exact duplicate"


def test_a_row_that_could_not_be_read_is_found_by_its_place(data: Data, made: runs.Run) -> None:
    (rejected,) = table(data.store, made, "ingestion", "rejected")
    for text in ("faq:6", "faq.jsonl:6", "faq faq.jsonl:6"):
        found = certify(data.store, text, made.id)
        assert (found.id, found.raw) == (None, rejected["raw"])
        (told,) = found.places[0].steps
        assert (told.verdict, told.reason, told.evidence) == ("rejected", rejected["cause"], rejected["detail"])


def test_the_beginning_of_an_id_will_do_where_it_is_the_only_one(data: Data, made: runs.Run) -> None:
    rows = list(table(data.store, made, "ingestion", "conversations"))
    begins = Counter(row["id"][:6] for row in rows)
    row = next(row for row in rows if begins[row["id"][:6]] == 1)
    assert certify(data.store, row["id"][:6]).id == row["id"]
    digit, many = Counter(row["id"][0] for row in rows).most_common(1)[0]
    assert many > 1
    with pytest.raises(RowNotFoundError, match=rf"\d+ rows begin with {digit}: .*Give more of the id"):
        certify(data.store, digit)


def test_what_is_not_there_is_told_with_what_to_do(data: Data, made: runs.Run) -> None:
    with pytest.raises(RowNotFoundError, match=r"no row faq:4000 in any run .* its place as source:line or file:line"):
        certify(data.store, "faq:4000")
    with pytest.raises(RowNotFoundError, match=f"no row faq:4000 in run {made.id}"):
        certify(data.store, "faq:4000", made.id)
    with pytest.raises(RowNotFoundError, match="--run never names no run"):
        certify(data.store, "faq:1", "never")


def test_the_newest_run_that_holds_the_row_answers(tmp_path: Path) -> None:
    data = Data(tmp_path)
    before = data.run(faq(), run_id="20260101-000000-aaaa")
    old = certify(data.store, "faq:50").id
    with pytest.raises(OSError, match="the disk is full"):
        data.run(faq()[:40], last="curate", run_id="20260102-000000-aaaa")
    (after, _) = runs.recent(data.store)
    assert certify(data.store, "faq:50").run == before.id
    assert certify(data.store, str(old)).run == before.id
    cut_short = certify(data.store, "faq:20")
    assert cut_short.run == after.id != before.id
    last = cut_short.places[0].steps[-1]
    assert (last.stage, last.verdict, last.reason) == ("deduplication", "not reached", "the run failed before it")
    assert certify(data.store, "faq:20", before.id).run == before.id


def trained(store: Store, run: runs.Run) -> Counter[str]:
    return Counter(i for row in table(store, run, "tokenization", "sequences") for i in row["row_ids"])


@pytest.fixture(scope="module")
def second(data: Data, made: runs.Run) -> runs.Run:
    """Rows taken out, broken and added, answers too short, more held out, fewer and others shown."""
    return data.run(second_rows(), heldout=0.3, answer_tokens=(18, 600),
                      mixing=MixingConfig(shares={"domain": 0.6, "code": 0.4}, total=60, seed=1))  # fmt: skip


@pytest.fixture(scope="module")
def changed(data: Data, made: runs.Run, second: runs.Run) -> RowChanges:
    return row_changes(data.store, made, second, most_rows=1000)


def second_rows() -> list[dict[str, Any]]:
    rows = faq()
    rows[40] = {"question": "now broken", "answer": None}
    return [*rows[:80], *(pair(f"What else, {n}?", f"Nothing else but the number {n}, this year.") for n in range(5))]


def test_each_row_that_entered_or_left_is_counted_once(
    data: Data, made: runs.Run, second: runs.Run, changed: RowChanges
) -> None:
    was, now = trained(data.store, made), trained(data.store, second)
    listed = {
        direction: [row for row in changed.rows if row.direction == direction] for direction in ("left", "entered")
    }
    assert {row.id for row in listed["left"]} == set(was) - set(now)
    assert {row.id for row in listed["entered"]} == set(now) - set(was)
    assert (changed.left, changed.entered) == (len(listed["left"]), len(listed["entered"]))
    assert all(row.copies == (was if row.direction == "left" else now)[row.id] for row in changed.rows)
    both = set(was) & set(now)
    assert changed.shown_less == sum(now[row] < was[row] for row in both) > 0
    assert changed.shown_more == sum(now[row] > was[row] for row in both)
    groups = Counter({(g.direction, g.source, g.stage, g.reason): g.rows for g in changed.groups})
    assert groups == Counter((row.direction, row.source, row.stage, row.reason) for row in changed.rows)


def test_each_change_has_the_reason_of_the_run_without_the_row(
    data: Data, made: runs.Run, second: runs.Run, changed: RowChanges
) -> None:
    for row in changed.rows:
        other = second if row.direction == "left" else made
        if row.reason == "not in the sources":
            with pytest.raises(RowNotFoundError):
                certify(data.store, row.id, other.id)
            continue
        place = certify(data.store, row.id, other.id).places[0]
        if row.reason == "held out":
            assert (row.stage, place.split) == ("ingestion", "heldout")
        else:
            assert (row.stage, row.reason, row.evidence) == (
                place.steps[-1].stage, place.steps[-1].reason, place.steps[-1].evidence,
            )  # fmt: skip
    reasons = {row.reason for row in changed.rows if row.direction == "left"}
    assert reasons >= {"not in the sources", "held out", "answer too short", "not sampled"}
    assert {row.reason for row in changed.rows if row.direction == "entered"} == {"not in the sources", "not sampled"}


def test_a_row_whose_place_is_broken_now_says_so(tmp_path: Path) -> None:
    data, everything = Data(tmp_path), MixingConfig(shares={"domain": 1, "code": 0})
    rows = faq()
    before = data.run(rows, heldout=0, mixing=everything)
    rows[40] = {"question": "now broken", "answer": None}
    after = data.run(rows, heldout=0, mixing=everything)
    (left,) = row_changes(data.store, before, after, most_rows=5).rows
    cause = next(table(data.store, after, "ingestion", "rejected"))["cause"]
    assert (left.direction, left.line, left.reason) == ("left", 41, "not in the sources")
    assert left.evidence == f"faq faq.jsonl:41 cannot be read there: {cause}"
    backwards = row_changes(data.store, after, before, most_rows=5)
    assert (backwards.entered, backwards.left, backwards.rows[0].id) == (1, 0, left.id)


def test_a_run_compared_with_its_like_has_no_changes(data: Data, made: runs.Run) -> None:
    again = data.run(faq())
    assert row_changes(data.store, made, again, most_rows=5) == RowChanges()


def test_a_whole_run_tells_a_row_on_one_screen_and_as_data(fettle: Fettle, store: Path) -> None:
    opened = Store(str(store))
    (run,) = runs.recent(opened)
    shown = next(table(opened, run, "mixing", "mixture"))
    held = next(table(opened, run, "mixing", "heldout"))
    rejected = next(table(opened, run, "ingestion", "rejected"))
    for text, words in (
        (shown["id"], ["packed", "sequence", "trained", "times in all, over 1 epoch", "passed the filters"]),
        (held["id"], ["held-out side", "held out before", "loss base", "nats a token"]),
        (f"{rejected['source']}:{rejected['line']}", ["could not be read", "rejected", rejected["cause"]]),
    ):
        answer = fettle("show", text, "--store", str(store))
        assert answer.code == 0, answer.err
        assert all(word in answer.out for word in words), answer.out
        assert len(answer.out.splitlines()) <= 24
        told = fettle("show", text, "--store", str(store), "--json").json
        assert Certificate.model_validate(told) == certify(opened, text)
    for stage in DROPPING[:3]:
        for row in {row["reason"]: row for row in table(opened, run, stage, "dropped")}.values():
            out = fettle("show", row["id"], "--store", str(store)).out
            assert row["reason"] in out
            assert "dropped" in out
    missing = fettle("show", "0123456789abcdef0123456789abcdef", "--store", str(store))
    assert (missing.code, missing.out) == (2, "")
    assert "no row 0123456789abcdef0123456789abcdef in any run" in missing.err


def test_diff_lists_rows_for_people_and_programs(fettle: Fettle, data: Data, made: runs.Run, tmp_path: Path) -> None:
    shutil.copytree(data.folder / "store", tmp_path / "copy")
    copy = Data(tmp_path)
    shutil.move(tmp_path / "copy", tmp_path / "store")
    second = copy.run([*faq(), pair("\x1b[31mIs it red?\x1b[0m", "It is as red as \x1b[2J this.")])
    told = fettle("diff", made.id, second.id, "--store", copy.store.uri, "--json", "--rows", "2").json
    assert {field["stage"] for field in told["fields"]} >= {"ingest", "mix"}
    assert told["rows"] == json.loads(row_changes(copy.store, made, second, most_rows=2).model_dump_json())
    out = fettle("diff", made.id, second.id, "--store", copy.store.uri, "--rows", "2").out
    assert f"{told['rows']['entered']} entered training, {told['rows']['left']} left" in out
    assert all(row["id"][:12] in out for row in told["rows"]["rows"])
    shown = fettle("show", f"faq:{len(faq()) + 1}", "--store", copy.store.uri).out
    assert "Is it red?" in shown
    assert "\x1b" not in shown


def test_another_place_of_the_content_is_told_in_the_terminal(data: Data, made: runs.Run, fettle: Fettle) -> None:
    out = fettle("show", "faq:1", "--run", made.id, "--store", data.store.uri).out
    assert "the same content stands in one more place\n" in out
