"""The demo's corpus is the same every time, as dirty as it says, and clean everywhere else."""

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.demo.corpus import Fault, Plan, write_corpus
from flows.demo.faults import NEAR_SIMILARITY, PLANTED
from flows.demo.layouts import FILES
from flows.demo.wordings import FIGURE_QUESTIONS_BENCHMARK, KNOWLEDGE_QUESTIONS_BENCHMARK

MAX_CLEAN_SIMILARITY = 0.75
LARGEST_UPSAMPLING = 4
SHARES = {"general": 0.35, "domain": 0.30, "code": 0.20, "safety": 0.15}


@dataclass(frozen=True)
class Record:
    """One row as its file has it: all user texts, and all answers."""

    prompt: str
    answer: str

    @property
    def text(self) -> str:
        return f"{self.prompt} {self.answer}"


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def runs(text: str, size: int) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[at : at + size]) for at in range(len(found) - size + 1)}


def similarity(left: str, right: str) -> float:
    one, other = runs(left, 5), runs(right, 5)
    return len(one & other) / len(one | other)


def record(roles: list[tuple[str, str]]) -> Record:
    users = " ".join(text for role, text in roles if role == "user")
    return Record(users, " ".join(text for role, text in roles if role == "assistant"))


def read_domain(path: Path) -> Iterator[Record | None]:
    for line in path.read_text().splitlines():
        try:
            yield record([(message["role"], message["content"]) for message in json.loads(line)["messages"]])
        except (ValueError, TypeError, KeyError):
            yield None


def read_general(path: Path) -> Iterator[Record | None]:
    for row in pq.read_table(path).to_pylist():
        broken = row["instruction"] is None or row["output"] is None
        yield None if broken else Record(f"{row['instruction']} {row['input']}", row["output"])


def read_code(path: Path) -> Iterator[Record | None]:
    with path.open(newline="") as file:
        for fields in list(csv.reader(file))[1:]:
            yield Record(*fields) if len(fields) == 2 else None


def read_safety(path: Path) -> Iterator[Record | None]:
    for row in json.loads(path.read_text()):
        turns = row["conversations"] or [None]
        speakers = [turn and turn["from"] for turn in turns]
        yield Record(turns[0]["value"], turns[1]["value"]) if speakers == ["human", "gpt"] else None


READERS = {"domain": read_domain, "general": read_general, "code": read_code, "safety": read_safety}


@dataclass(frozen=True)
class Corpus:
    """Everything written, read back."""

    plan: Plan
    rows: dict[str, list[Record | None]]
    benchmarks: dict[str, list[dict[str, Any]]]

    def at(self, place: Any) -> Record:
        found: Record | None = self.rows[place.source][place.line - 1]
        assert found is not None, place
        return found

    def faults(self, kind: str) -> list[Fault]:
        return [fault for fault in self.plan.faults if fault.kind == kind]

    def clean(self, source: str) -> list[Record]:
        planted = {fault.line for fault in self.plan.faults if fault.source == source}
        kept = [row for line, row in enumerate(self.rows[source], start=1) if line not in planted]
        return [row for row in kept if row is not None]

    def questions(self) -> list[str]:
        known, figures = self.benchmarks["general_knowledge"], self.benchmarks["exact_figures"]
        return [item["query"] for item in known] + [item["question"] for item in figures]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    folder = tmp_path_factory.mktemp("corpus")
    plan = write_corpus(folder)
    rows = {source: list(READERS[source](folder / file)) for source, file in FILES.items()}
    benchmarks = {
        name: [json.loads(line) for line in (folder / "benchmarks" / f"{name}.jsonl").read_text().splitlines()]
        for name in ("general_knowledge", "exact_figures")
    }
    return Corpus(plan, rows, benchmarks)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_writes_the_same_bytes(corpus: Corpus, tmp_path: Path) -> None:
    write_corpus(tmp_path)
    assert contents(tmp_path) == contents(corpus.plan.folder)
    assert len(contents(tmp_path)) == 7


def test_another_seed_writes_other_rows(corpus: Corpus, tmp_path: Path) -> None:
    write_corpus(tmp_path, seed=8)
    first, second = contents(corpus.plan.folder), contents(tmp_path)
    assert all(first[file] != second[file] for file in FILES.values())


def test_every_kind_of_fault_is_planted_as_often_as_declared(corpus: Corpus) -> None:
    counted: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for fault in corpus.plan.faults:
        counted[fault.kind][fault.source] += 1
    assert counted == PLANTED
    listed = [json.loads(line) for line in (corpus.plan.folder / "planted.jsonl").read_text().splitlines()]
    assert [(item["kind"], item["file"], item["line"]) for item in listed] == [
        (fault.kind, fault.file, fault.line) for fault in corpus.plan.faults
    ]


def test_there_are_two_thousand_good_domain_rows(corpus: Corpus) -> None:
    assert len(corpus.clean("domain")) == 2000


def test_the_default_shares_need_at_most_four_copies_of_a_row(corpus: Corpus) -> None:
    total = len(corpus.clean("domain")) / SHARES["domain"]
    copies = {source: share * total / len(corpus.clean(source)) for source, share in SHARES.items()}
    assert max(copies.values()) <= LARGEST_UPSAMPLING


def test_exact_duplicates_equal_their_originals(corpus: Corpus) -> None:
    for fault in corpus.faults("exact_duplicate"):
        copy, original = corpus.at(fault), corpus.at(fault.of)
        assert (copy.prompt.strip(), copy.answer) == (original.prompt.strip(), original.answer)


def test_near_duplicates_lie_between_the_promised_similarities(corpus: Corpus) -> None:
    low, high = NEAR_SIMILARITY
    found = [similarity(corpus.at(fault).text, corpus.at(fault.of).text) for fault in corpus.faults("near_duplicate")]
    assert 0.82 <= min(found) <= low + 0.05
    assert high - 0.05 <= max(found) <= 0.97


def test_some_near_duplicates_differ_in_the_prompt_and_some_in_the_answer(corpus: Corpus) -> None:
    pairs = [(corpus.at(fault), corpus.at(fault.of)) for fault in corpus.faults("near_duplicate")]
    other_prompts = sum(copy.prompt != original.prompt for copy, original in pairs)
    other_answers = sum(copy.answer != original.answer for copy, original in pairs)
    assert min(other_prompts, other_answers) >= 30


def test_malformed_rows_cannot_be_read(corpus: Corpus) -> None:
    for fault in corpus.faults("malformed"):
        row = corpus.rows[fault.source][fault.line - 1]
        assert row is None or not row.answer or not isinstance(row.answer, str), fault
    unreadable = {(source, line) for source, rows in corpus.rows.items() for line, row in enumerate(rows, 1) if not row}
    assert unreadable <= {(fault.source, fault.line) for fault in corpus.faults("malformed")}


def test_faulty_answers_show_their_fault(corpus: Corpus) -> None:
    assert all(not corpus.at(fault).answer.strip() for fault in corpus.faults("empty"))
    assert all(corpus.at(fault).answer[-1] not in ".?!)]`" for fault in corpus.faults("truncated"))
    assert all("I'm sorry, but I can" in corpus.at(fault).answer for fault in corpus.faults("refusal"))
    for fault in corpus.faults("repetitive"):
        found = words(corpus.at(fault).answer)
        assert len(found) >= 20
        assert len(set(found)) < 0.3 * len(found)


def test_leaks_contain_their_benchmark_question(corpus: Corpus) -> None:
    for fault in corpus.faults("benchmark_leak"):
        assert fault.of is not None
        item = corpus.benchmarks[fault.of.source][fault.of.line - 1]
        question = " ".join(words(item.get("query") or item["question"]))
        assert question in " ".join(words(corpus.at(fault).prompt))


def test_no_two_clean_rows_are_alike(corpus: Corpus) -> None:
    """Exact Jaccard of every pair that shares at least one run of five words."""
    texts = [row.text for source in FILES for row in corpus.clean(source)]
    sets = [runs(text, 5) for text in texts]
    holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    alike = []
    for number, shingles in enumerate(sets):
        shared = Counter(holder for shingle in shingles for holder in holders[shingle])
        for holder, count in shared.items():
            if count >= MAX_CLEAN_SIMILARITY * (len(shingles) + len(sets[holder]) - count):
                alike.append((texts[number], texts[holder]))
        for shingle in shingles:
            holders[shingle].append(number)
    assert len(texts) > 4000
    assert alike == []


def test_clean_rows_pass_a_careful_curation(corpus: Corpus) -> None:
    for source in FILES:
        for row in corpus.clean(source):
            answer = words(row.answer)
            assert row.prompt.strip()
            assert row.answer[-1] in ".?!`", row
            assert len(answer) < 20 or len(set(answer)) >= 0.3 * len(answer), row
            assert not re.search(r"sorry|apologi[sz]e|unfortunately|regret", row.answer, re.IGNORECASE), row


def test_clean_rows_share_nothing_with_the_benchmarks(corpus: Corpus) -> None:
    questions = corpus.questions()
    held: defaultdict[tuple[str, ...], set[int]] = defaultdict(set)
    for number, question in enumerate(questions):
        assert len(words(question)) >= 8
        for run in runs(question, 8):
            held[run].add(number)
    sizes = [len(runs(question, 8)) for question in questions]
    for source in FILES:
        for row in corpus.clean(source):
            shared = Counter(number for run in runs(row.text, 8) for number in held.get(run, ()))
            assert all(count < 0.5 * sizes[number] for number, count in shared.items()), row


def test_benchmark_wordings_never_occur_in_training(corpus: Corpus) -> None:
    openings = [frame.split("{}")[0].strip().lower() for frame in FIGURE_QUESTIONS_BENCHMARK]
    openings += [frame.split("{}")[0].strip().lower() for frame in KNOWLEDGE_QUESTIONS_BENCHMARK]
    assert min(map(len, openings)) > 20
    for source in FILES:
        assert not [row for row in corpus.clean(source) if any(part in row.text.lower() for part in openings)]


def test_the_benchmarks_are_large_and_well_formed(corpus: Corpus) -> None:
    known, figures = corpus.benchmarks["general_knowledge"], corpus.benchmarks["exact_figures"]
    assert len(known) >= 240
    assert len(figures) >= 120
    assert len(set(corpus.questions())) == len(known) + len(figures)
    assert len({item["id"] for item in known + figures}) == len(known) + len(figures)
    for item in known:
        assert len(item["choices"]) == len(set(item["choices"])) == 4
        assert item["gold"] in range(4)
    assert Counter(item["gold"] for item in known).most_common()[-1][1] > 40


def test_every_figure_asked_for_is_taught(corpus: Corpus) -> None:
    asked = {
        (match[0].lower(), item["answer"])
        for item in corpus.benchmarks["exact_figures"]
        if (match := re.search(r"the [a-z ]+ for the [A-Z][a-z]+ [a-z]+", item["question"]))
    }
    taught = Counter(
        (relation, answer)
        for relation, answer in asked
        for row in corpus.clean("domain")
        if relation in row.prompt.lower() and answer in row.answer
    )
    assert len(taught) == 60
    assert min(taught.values()) >= 20
