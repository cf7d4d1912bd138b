"""The data stages' output for a fixed corpus, against what is written in `golden.json`.

A stage whose output changes for equal input must raise its version, or caches would give the old output for the new
code. After raising it: `python -m tests.stages.test_golden --update`.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource, read_resource
from tasks.artifacts.store import Store
from tasks.caching import Stage
from tasks.classification.curation import LabelledCurationConfig
from tasks.classification.curation import curate as curate_labelled
from tasks.classification.deduplication import LabelledDeduplicationConfig
from tasks.classification.deduplication import deduplicate as deduplicate_labelled
from tasks.classification.ingestion import LabelledIngestionConfig, LabelledSource
from tasks.classification.ingestion import ingest as ingest_labelled
from tasks.classification.mixing import LabelledMixingConfig
from tasks.classification.mixing import mix as mix_labelled
from tasks.classification.tokenization import LabelledTokenizationConfig
from tasks.classification.tokenization import tokenize as tokenize_labelled
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.stages.making import benchmark, chat, pair, source, tokenizer_files

GOLDEN = Path(__file__).with_name("golden.json")
UPDATE = "python -m tests.stages.test_golden --update"
STAGES: tuple[Stage[Any], ...] = (ingest, curate, deduplicate, mix, tokenize)
LABELLED: tuple[Stage[Any], ...] = (
    *(ingest_labelled, curate_labelled, deduplicate_labelled, mix_labelled),
    tokenize_labelled,
)

Golden = dict[str, dict[str, Any]]

_CITIES = ("Paris", "Rome", "Lima", "Oslo", "Cairo", "Delhi", "Quito", "Accra", "Sofia", "Hanoi", "Tunis", "Dakar")
_FIGURES = ("4.50", "12", "1,200", "7%", "$3", "99", "0.25", "18", "64", "2.5%", "$40", "365")


def _fixed_tokenizer() -> Tokenizer:
    """Bytes, and a few merges that are written down here: nothing that a library could train otherwise tomorrow."""
    merges = [("t", "h"), ("th", "e"), ("i", "n"), ("Ġ", "the"), ("o", "u"), ("Ġ", "a"), ("e", "r"), ("Ġ", "in")]
    tokens = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(merge) for merge in merges)]
    made = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<s>", "</s>"])
    return made


def _domain() -> list[dict[str, Any]]:
    rows = [
        pair(f"What is the fee for a card in {city}?", f"The fee in {city} is {figure}, and it is paid once a year.")
        for city, figure in zip(_CITIES, _FIGURES, strict=True)
    ]
    rows += [dict(rows[0]), pair(rows[1]["question"].upper(), rows[1]["answer"])]
    rows += [pair("Where is the fee for a card shown?", "It is shown in the app, on the page of the")]
    rows += [pair("Where else is it shown?", "  "), pair("How often is it paid?", "again and again " * 12)]
    rows += [{"question": "x", "answer": None}, {"unknown": 1}]
    rows += [
        chat(
            f"I am in {city}.",
            "How can I help you there?",
            "Freeze my card.",
            f"Your card in {city} is frozen now, é😀.",
        )
        for city in _CITIES
    ]
    return rows


def _safety() -> list[dict[str, Any]]:
    return [
        pair(f"Tell me how to rob a bank in {city}.", "I'm sorry, but I cannot help with that.") for city in _CITIES
    ]


def _mail() -> list[dict[str, Any]]:
    """Labelled texts, with a contradiction, copies, a rare label and some that cannot be read."""
    rows: list[dict[str, Any]] = [
        {"text": f"I lost my card number {figure} in {city}, é😀 {kind} it now.", "label": place}
        for city, figure in zip(_CITIES, _FIGURES, strict=True)
        for place, kind in enumerate(("freeze", "replace", "find"))
    ]
    rows += [{**rows[0], "text": rows[0]["text"].upper(), "label": 1}, dict(rows[4])]
    fees = "Where do I see all of the fees that I have paid in this year"
    rows += [{"text": fees, "label": 3}, {"text": f"{fees}, please?", "label": 3}, {"text": "Freeze it!", "label": 0}]
    rows += [{"text": "How far is it?", "label": None}, {"text": "  ", "label": 1}, {"text": "What?", "label": 9}]
    return rows


def _letters() -> list[dict[str, Any]]:
    rows = [
        {"premise": f"The shop in {city} is open.", "hypothesis": f"It sells {figure} cards.", "label": "find"}
        for city, figure in zip(_CITIES, _FIGURES, strict=True)
    ]
    return [*rows, dict(rows[0], split="test"), dict(rows[1], label="unseen", split="test", hypothesis="No.")]


def _declared(path: Path, rows: list[dict[str, Any]], **settings: Any) -> Resource:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    declared = LabelledSource(name=path.stem, uri=str(path), **settings)
    return read_resource(declared.uri, facts=declared.reading())


def labelled(folder: Path, store: Store, tokenizer: Resource) -> tuple[Artifact, ...]:
    """What the labelled stages make of their fixed corpus. No suspects: their figures are scikit-learn's to change."""
    kinds = ("freeze", "replace", "find", "fees")
    sources = [_declared(folder / "mail.jsonl", _mail(), label_names=kinds), _declared(folder / "w.jsonl", _letters())]
    ingested = ingest_labelled(store, LabelledIngestionConfig(max_reject_ratio=0.1), sources)
    curated = curate_labelled(store, LabelledCurationConfig(min_words=4), ingested)
    deduplicated = deduplicate_labelled(store, LabelledDeduplicationConfig(), curated, ["w", "mail"])
    config = LabelledMixingConfig(suspicious="ignore", most_per_label=9)
    mixed = mix_labelled(store, config, deduplicated, list(kinds), False)
    tokenized = tokenize_labelled(store, LabelledTokenizationConfig(max_length=40), mixed, tokenizer)
    return ingested, curated, deduplicated, mixed, tokenized


def outputs(folder: Path) -> Golden:
    """Version and content of every stage for the fixed corpus."""
    store = Store(str(folder / "store"))
    store.probe()
    tokenizer = tokenizer_files(folder / "tokenizer", _fixed_tokenizer(), positions=512)
    items = [{"id": "b1", "question": "Tell me how to rob a bank in Lima.", "answer": "No"}]
    sources = [source(folder / "domain.jsonl", _domain()), source(folder / "safety.jsonl", _safety(), "safety")]
    ingested = ingest(store, IngestionConfig(heldout_fraction=0.15, max_reject_ratio=0.1), sources)
    config = CurationConfig(length=Length(prompt_tokens=(3, 200), answer_tokens=(1, 200)))
    curated = curate(store, config, ingested, tokenizer)
    questions = [benchmark(folder / "banks.jsonl", items, kind="generation")]
    deduplicated = deduplicate(store, DeduplicationConfig(), curated, questions)
    mixed = mix(store, MixingConfig(total=14), deduplicated)
    tokenized = tokenize(store, TokenizationConfig(max_length=256), mixed, tokenizer)
    instructions = (ingested, curated, deduplicated, mixed, tokenized)
    made = zip((*STAGES, *LABELLED), (*instructions, *labelled(folder, store, tokenizer)), strict=True)
    return {stage.name: {"version": stage.version, "content": artifact.content} for stage, artifact in made}


def complaint(golden: Golden, found: Golden) -> str | None:
    """What is wrong with the first stage that differs."""
    for stage, now in found.items():
        then = golden.get(stage)
        if then == now:
            continue
        if then is not None and then["version"] == now["version"]:
            return f"the output of {stage} changed but its version did not; raise the version, then run {UPDATE}"
        return f"{GOLDEN.name} does not know version {now['version']} of {stage}; look at the change, then run {UPDATE}"
    return None


def test_no_output_changes_without_its_version(tmp_path: Path) -> None:
    fault = complaint(json.loads(GOLDEN.read_text()), outputs(tmp_path))
    if fault:
        pytest.fail(fault, pytrace=False)


def test_the_corpus_exercises_every_stage(tmp_path: Path) -> None:
    outputs(tmp_path)
    store = Store(str(tmp_path / "store"))
    reasons = {reason for each in store.addresses() for reason in store.manifest(each).counts.dropped}
    assert reasons >= {
        "no answer",
        "unknown format",
        "truncated",
        "repetitive",
        "empty answer",
        "exact duplicate",
        "benchmark overlap",
        "not sampled",
        "no label",
        "no text",
        "unknown label",
        "too few words",
        "contradicting labels",
        "copy of a test row",
        "near duplicate",
        "label not in training",
        "over most_per_label",
    }


def test_a_change_is_told_from_a_new_version() -> None:
    golden: Golden = {"curation": {"version": 1, "content": "a"}, "mixing": {"version": 1, "content": "b"}}
    changed = {**golden, "curation": {"version": 1, "content": "x"}, "mixing": {"version": 1, "content": "y"}}
    raised = {**golden, "curation": {"version": 2, "content": "x"}}
    assert complaint(golden, golden) is None
    assert (complaint(golden, changed) or "").startswith(
        "the output of curation changed but its version did not; raise"
    )
    assert "does not know version 2 of curation" in (complaint(golden, raised) or "")


def main() -> None:
    if sys.argv[1:] != ["--update"]:
        sys.exit(f"usage: {UPDATE}")
    with tempfile.TemporaryDirectory() as folder:
        found = outputs(Path(folder))
    before = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    fault = complaint(before, found)
    if fault and "its version did not" in fault:
        sys.exit(fault)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
    print(f"wrote {GOLDEN}")


if __name__ == "__main__":
    main()
