"""Tokenize: rows of ids whose labels are the answers, packed, and proven."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from tasks import tokenization
from tasks.algorithms.masking import NOT_TRAINED
from tasks.algorithms.rendering import TemplateError
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import MaskError, TokenizationConfig, tokenize
from tests.stages.making import CHATML, byte_fallback, byte_level, chat, pair, prose, source, tokenizer_files

LENIENT = CurationConfig(length=Length(prompt_tokens=(0, 9999), answer_tokens=(0, 9999)))
UNICODE = [
    "Žluťoučký kůň",
    "汉字和假名カナ",
    "😀👩‍👩‍👧 ok",
    "naïve café",
    "a\tb\n\nc",
    "مرحبا",
    "e\u0301 combining",
    "½ ≠ ²",
]


class Mixed:
    """Takes rows through all stages before the last."""

    def __init__(self, folder: Path, store: Store) -> None:
        self.folder, self.store = folder, store

    def __call__(
        self, rows: list[dict[str, Any]], tokenizer: Resource, heldout: float = 0.0, **mixing: Any
    ) -> Artifact:
        ingested = ingest(
            self.store, IngestionConfig(heldout_fraction=heldout), [source(self.folder / "faq.jsonl", rows)]
        )
        deduplicated = deduplicate(
            self.store, DeduplicationConfig(), curate(self.store, LENIENT, ingested, tokenizer), []
        )
        return mix(self.store, MixingConfig(**mixing), deduplicated)


@pytest.fixture
def mixed(tmp_path: Path, store: Store) -> Mixed:
    return Mixed(tmp_path, store)


def answers(tokenizer: Tokenizer, row: dict[str, Any]) -> list[str]:
    """The text of each trained run of tokens, sample by sample, special tokens written out."""
    found, run = [], []
    for token, label, position in zip(row["input_ids"], row["labels"], row["position_ids"], strict=True):
        assert label in (NOT_TRAINED, token)
        if run and (label == NOT_TRAINED or position == 0):
            found.append(tokenizer.decode(run, skip_special_tokens=False))
            run = []
        if label != NOT_TRAINED:
            run.append(token)
    return found + ([tokenizer.decode(run, skip_special_tokens=False)] if run else [])


@pytest.mark.parametrize("template", [None, CHATML])
@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_the_answers_and_their_ends_are_trained_and_nothing_else(
    mixed: Mixed, tmp_path: Path, make: Callable[[], Tokenizer], template: str | None
) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", make(), template=template)
    texts = ["Blue.", *UNICODE]
    rows = [
        chat(f"Name {n}: {text}", text, "And then?", f"{text} again", system="Be kind.") for n, text in enumerate(texts)
    ]
    made = tokenize(mixed.store, TokenizationConfig(packing=False), mixed(rows, given), given)
    end = "<|im_end|>" if template else "</s>"
    wanted = {tuple(each + end for each in (text, f"{text} again")) for text in texts}
    found = {tuple(each.strip() for each in answers(make(), row)) for row in mixed.store.rows(made, "sequences")}
    assert found == wanted
    assert mixed.store.table(made, "template")["text"][0].as_py() == (template or tokenization.PLAIN_TEMPLATE)


def trl_template(name: str) -> str:
    """A real chat template, as the installed TRL carries it."""
    (folder,) = importlib.util.find_spec("trl").submodule_search_locations  # type: ignore[union-attr]
    return (Path(folder) / "chat_templates" / f"{name}.jinja").read_text()


WEATHER = {"type": "function", "function": {"name": "weather", "description": "Weather of a city.", "parameters": {}}}
CALL = {"type": "function", "id": "c1", "function": {"name": "weather", "arguments": {"city": "Köln"}}}
ASKED = {
    "tools": [WEATHER],
    "messages": [
        {"role": "user", "content": "Is it raining in Köln?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "assistant", "content": "Yes, take an umbrella."},
    ],
}


def test_tool_calls_are_shown_and_trained_and_results_are_not(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=trl_template("qwen2_5"))
    made = tokenize(mixed.store, TokenizationConfig(max_length=4096, packing=False), mixed([ASKED], given), given)
    (row,) = mixed.store.rows(made, "sequences")
    call, answer = answers(byte_level(), row)
    assert "<tool_call>" in call
    assert '"name": "weather"' in call
    assert '"city": "Köln"' in call
    assert call.endswith(("</tool_call><|im_end|>", "</tool_call>\n<|im_end|>"))
    assert answer.strip() == "Yes, take an umbrella.<|im_end|>"
    assert "Weather of a city." in byte_level().decode(row["input_ids"])


def test_a_template_that_leaves_tool_calls_out_teaches_none(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [ASKED, pair("Is it raining?", "No, the sun shines.")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed(rows, tokenizer), tokenizer)
    assert made.counts.dropped == {"tool call not in the chat template": 1}
    (dropped,) = mixed.store.rows(made, "dropped")
    assert "the call of weather is not in the text" in dropped["evidence"]


def test_turns_of_weight_zero_are_read_and_not_trained(mixed: Mixed, tokenizer: Resource) -> None:
    row = chat("One?", "Wrong answer.", "Two?", "Right answer.")
    row["messages"][1]["weight"] = 0
    row["messages"][3]["weight"] = 0.5
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed([row], tokenizer), tokenizer)
    (sequence,) = mixed.store.rows(made, "sequences")
    assert answers(byte_level(), sequence) == ["Right answer.</s>"]
    assert "Wrong answer." in byte_level().decode(sequence["input_ids"])
    assert "1 turns have a loss weight" in made.warnings[0]


def test_packed_rows_hold_each_sample_as_often_as_it_is_shown(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [pair(f"Question {n}?", f"{prose(n, n % 12)} and {n}.") for n in range(300)]
    artifact = mixed(rows, tokenizer, heldout=0.1, total=500)
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), artifact, tokenizer)
    sequences = list(mixed.store.rows(made, "sequences"))
    shown = {row["id"]: row["copies"] for row in mixed.store.rows(artifact, "mixture")}
    seen: dict[str, int] = {}
    for row in sequences:
        assert len(row["input_ids"]) == len(row["labels"]) == len(row["position_ids"]) == sum(row["lengths"]) <= 256
        assert row["position_ids"] == [place for length in row["lengths"] for place in range(length)]
        starts = [sum(row["lengths"][:number]) for number in range(len(row["lengths"]))]
        assert all(row["labels"][start] == NOT_TRAINED for start in starts)
        assert len(answers(byte_level(), row)) == len(row["row_ids"]) == len(row["lengths"])
        for each in row["row_ids"]:
            seen[each] = seen.get(each, 0) + 1
    assert seen == shown
    facts = mixed.store.manifest(made).facts
    assert facts["fill"] > 0.95
    assert facts["tokens"] == sum(len(row["input_ids"]) for row in sequences)
    heldout = list(mixed.store.rows(made, "heldout"))
    assert heldout
    assert all(len(row["lengths"]) == len(row["row_ids"]) == 1 and row["source"] == "faq" for row in heldout)
    assert not {row["row_ids"][0] for row in heldout} & set(seen)
    unpacked = tokenize(mixed.store, TokenizationConfig(max_length=256, packing=False), artifact, tokenizer)
    assert all(len(row["lengths"]) == 1 for row in mixed.store.rows(unpacked, "sequences"))
    assert unpacked.tables["sequences"].rows == 500


def test_rows_without_a_trainable_token_are_dropped_and_cut_ones_counted(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [pair("long question " * 50, "No."), pair("Hi?", f"{prose(1, 50)} end."), pair("Hi!", "Hello.")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=64), mixed(rows, tokenizer), tokenizer)
    assert (made.counts.read, made.counts.kept, made.counts.dropped) == (3, 2, {"no trainable token": 1})
    (dropped,) = mixed.store.rows(made, "dropped")
    assert dropped["line"] == 1
    assert dropped["evidence"].startswith("none among the first 64 of ")
    assert mixed.store.manifest(made).facts["rows_cut"] == 1
    long = mixed([pair(f"{n} long question " * 50, "No.") for n in range(3)], tokenizer)
    with pytest.raises(ValueError, match="none of 3 rows has a trainable token among its first 16"):
        tokenize(mixed.store, TokenizationConfig(max_length=16), long, tokenizer)


def test_the_length_comes_from_the_99th_percentile_and_the_model(mixed: Mixed, tmp_path: Path) -> None:
    rows = [pair(f"Q{n:03}?", "Yes." if n < 199 else f"{prose(n, 200)} end.") for n in range(200)]

    def length(positions: int | None, **config: Any) -> int:
        given = tokenizer_files(tmp_path / str(positions), byte_level(), positions=positions)
        made = tokenize(mixed.store, TokenizationConfig(**config), mixed(rows, given), given)
        return int(mixed.store.manifest(made).facts["max_length"])

    derived = length(None)
    assert 16 < derived < 100
    assert derived % 8 == 0
    assert length(24) == 24
    assert length(64, max_length=64) == 64
    with pytest.raises(ValueError, match="max_length is 65, but the model holds 64"):
        length(64, max_length=65)


def test_the_recipes_template_goes_before_the_tokenizers(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template="{{ 1 / 0 }}")
    artifact = mixed([pair("Hi?", "Hello.")], given)
    with pytest.raises(TemplateError, match="division by zero"):
        tokenize(mixed.store, TokenizationConfig(), artifact, given)
    made = tokenize(mixed.store, TokenizationConfig(chat_template=CHATML), artifact, given)
    assert mixed.store.table(made, "template")["text"][0].as_py() == CHATML


@pytest.mark.parametrize(
    ("settings", "says"), [({"eos_token": None}, "names no eos_token"), ({"eos_token": "<stop>"}, "none of its tokens")]
)
def test_a_tokenizer_without_an_end_is_refused(
    mixed: Mixed, tmp_path: Path, settings: dict[str, Any], says: str
) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), **settings)
    with pytest.raises(ResourceError, match=says):
        tokenize(mixed.store, TokenizationConfig(), mixed([pair("Hi?", "Hello.")], given), given)


@pytest.mark.parametrize(
    ("name", "data"), [("tokenizer.json", "{}"), ("tokenizer.json", "x"), ("tokenizer_config.json", "{")]
)
def test_broken_tokenizer_files_are_named(mixed: Mixed, tmp_path: Path, name: str, data: str) -> None:
    tokenizer_files(tmp_path / "tokenizer", byte_level())
    (tmp_path / "tokenizer" / name).write_text(data)
    with pytest.raises(ResourceError, match=name):
        mixed([pair("Hi?", "Hello.")], read_resource(str(tmp_path / "tokenizer")))


@pytest.mark.parametrize(
    ("tampered", "says"),
    [
        (lambda made, _: [NOT_TRAINED] * len(made), "is not what its labels cover"),
        (lambda made, _: [NOT_TRAINED, *made[:-1]], "is not what its labels cover|end token"),
        (lambda made, _: [*made[1:], NOT_TRAINED], "is not what its labels cover|end token"),
        (lambda made, _: [*made[:-1], NOT_TRAINED], "its end token should be"),
        (lambda _, ids: list(ids), "before answer 1 is trained"),
    ],
)
def test_labels_that_are_not_the_answers_stop_the_stage(
    mixed: Mixed, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch, tampered: Any, says: str
) -> None:
    honest = tokenization.labels
    monkeypatch.setattr(tokenization, "labels", lambda ids, offsets, spans: tampered(honest(ids, offsets, spans), ids))
    artifact = mixed(
        [pair("What is the fee of the card, and who is it that pays it for all of us?", "It is 4.")], tokenizer
    )
    with pytest.raises(MaskError, match=says) as caught:
        tokenize(mixed.store, TokenizationConfig(), artifact, tokenizer)
    assert str(caught.value).startswith("faq faq.jsonl:1: ")


def test_the_seed_orders_rows_and_nothing_else_does(mixed: Mixed, tokenizer: Resource, tmp_path: Path) -> None:
    rows = [pair(f"Q{n}?", f"A{n}.") for n in range(50)]
    artifact = mixed(rows, tokenizer)
    made = tokenize(mixed.store, TokenizationConfig(), artifact, tokenizer)
    other = Store(str(tmp_path / "other"))
    other.probe()
    again = Mixed(tmp_path / "again", other)
    assert tokenize(other, TokenizationConfig(), again(rows, tokenizer), tokenizer).content == made.content
    assert tokenize(mixed.store, TokenizationConfig(seed=1), artifact, tokenizer).content != made.content
