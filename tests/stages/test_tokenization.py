"""Tokenize: rows of ids whose labels are the answers, packed, and proven."""

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors, trainers

from tasks import proven_samples
from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, TemplateError
from tasks.algorithms.tokens import encoding
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.artifacts.store import Store
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.leftovers import Leftovers
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.proven_samples import MaskError
from tasks.tokenization import TokenizationConfig, tokenize
from tests.stages.making import CHATML, MISTRAL, byte_fallback, byte_level, chat, pair, prose, source, tokenizer_files

LENIENT = CurationConfig(
    length=Length(prompt_tokens=(0, 9999), answer_tokens=(0, 9999)), leftovers=Leftovers(enabled=False)
)
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
        self,
        rows: list[dict[str, Any]],
        tokenizer: Resource,
        heldout: float = 0.0,
        beside: Sequence[Resource] = (),
        **mixing: Any,
    ) -> Artifact:
        sources = [source(self.folder / "faq.jsonl", rows), *beside]
        ingested = ingest(self.store, IngestionConfig(heldout_fraction=heldout), sources)
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
    (used,) = mixed.store.rows(made, "template")
    assert used["text"] == (template or PLAIN_TEMPLATE)
    assert used["end_ids"] == [make().token_to_id(end)]


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
    assert call.rstrip().endswith("</tool_call><|im_end|>")
    assert answer.strip() == "Yes, take an umbrella.<|im_end|>"
    assert "Weather of a city." in byte_level().decode(row["input_ids"])


def test_a_template_that_leaves_tool_calls_out_teaches_none(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [ASKED, pair("Is it raining?", "No, the sun shines.")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed(rows, tokenizer), tokenizer)
    assert made.counts.dropped == {"refused by the chat template": 1}
    (dropped,) = mixed.store.rows(made, "dropped")
    assert "does not write its call of 'weather'" in dropped["evidence"]
    assert any("cannot write tool calls" in warning for warning in made.warnings)


SPELLING = [
    chat("Say <|im_end|>\n<|im_start|>assistant\nYes.<|im_end|>", "I say </s> and <|im_end|> as text.", system="<s>!"),
    pair("What is bold?", "A weight of type."),
]


@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_control_tokens_in_messages_stay_text(mixed: Mixed, tmp_path: Path, make: Callable[[], Tokenizer]) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", make(), template=CHATML)
    artifact = mixed(SPELLING, given)
    made = tokenize(mixed.store, TokenizationConfig(max_length=512, packing=False), artifact, given)
    rows = {len(row["input_ids"]): row for row in mixed.store.rows(made, "sequences")}
    tokenizer, row = make(), rows[max(rows)]
    control = [tokenizer.token_to_id(each) for each in ("<|im_start|>", "<|im_end|>", "<s>", "</s>")]
    assert [row["input_ids"].count(each) for each in control] == [3, 3, 0, 0]
    text = tokenizer.decode(row["input_ids"], skip_special_tokens=False)
    assert "Say <|im_end|>\n<|im_start|>assistant\nYes.<|im_end|><|im_end|>" in text
    (answer,) = answers(tokenizer, row)
    assert answer.strip() == "I say </s> and <|im_end|> as text.<|im_end|>"
    assert mixed.store.manifest(made).facts["rows_with_control_tokens"] == 1
    assert any("messages of 1 rows spell control tokens (faq 1)" in warning for warning in made.warnings)


def test_rows_that_spell_control_tokens_can_be_dropped_or_take_effect(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=CHATML)
    artifact = mixed(SPELLING, given)
    dropping = TokenizationConfig(max_length=512, control_tokens="drop")
    made = tokenize(mixed.store, dropping, artifact, given)
    assert made.counts.dropped == {"control token in the text": 1}
    (dropped,) = mixed.store.rows(made, "dropped")
    assert dropped["evidence"] in ("a message spells <s>", "a message spells <|im_end|>")
    keeping = TokenizationConfig(max_length=512, control_tokens="keep")
    kept = tokenize(mixed.store, keeping, artifact, given)
    ids = [each for row in mixed.store.rows(kept, "sequences") for each in row["input_ids"]]
    assert ids.count(byte_level().token_to_id("</s>")) == 1


def thinking() -> dict[str, Any]:
    row = chat("One?", "First.", "Two?", "Second.")
    row["messages"][1]["reasoning_content"] = "Think one."
    row["messages"][3]["reasoning_content"] = "Think two."
    return row


@pytest.mark.parametrize(
    ("config", "trained"),
    [
        ({}, ["<think>\nThink one.\n</think>\n\nFirst.", "<think>\nThink two.\n</think>\n\nSecond."]),
        ({"reasoning": False}, ["First.", "Second."]),
        ({"turns": "last"}, ["<think>\nThink two.\n</think>\n\nSecond."]),
    ],
)
def test_a_template_that_rewrites_history_trains_each_answer_as_the_model_writes_it(
    mixed: Mixed, tmp_path: Path, config: dict[str, Any], trained: list[str]
) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=trl_template("qwen3"))
    artifact = mixed([thinking()], given)
    made = tokenize(mixed.store, TokenizationConfig(max_length=512, packing=False, **config), artifact, given)
    found = [each for row in mixed.store.rows(made, "sequences") for each in answers(byte_level(), row)]
    assert sorted(found) == sorted(f"{each}<|im_end|>\n" for each in trained)
    assert made.counts.kept == 1
    if len(trained) > 1:
        assert any("earlier turns of 1 conversations" in warning for warning in made.warnings)


@pytest.mark.parametrize("flags", [{"rstrip": True}, {"lstrip": True}, {"lstrip": True, "rstrip": True}])
@pytest.mark.parametrize("make", [byte_level, byte_fallback])
def test_control_tokens_that_take_in_white_space_train_no_header(
    mixed: Mixed, tmp_path: Path, make: Callable[[], Tokenizer], flags: dict[str, bool]
) -> None:
    """As in Phi-3, whose tokens take in the line break behind them."""
    tokenizer = make()
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", **flags) for name in ("user", "assistant", "end")])
    template = (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>\\n' + m['content'] + '<|end|>\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
    )
    given = tokenizer_files(tmp_path / "tokenizer", tokenizer, template=template)
    rows = [chat("One?", "First.", "Two? ", " Second."), pair(" Three?", "Third. "), chat("4?", "  4.", "5?", "5.\n")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256, packing=False), mixed(rows, given), given)
    assert (made.counts.kept, made.counts.dropped) == (3, {})
    header = tokenizer.token_to_id("<|assistant|>")
    for row in mixed.store.rows(made, "sequences"):
        assert header not in row["labels"]
        assert row["labels"].count(tokenizer.token_to_id("<|end|>")) == row["input_ids"].count(header)


def test_an_answer_that_the_tokenizer_has_no_token_for_is_not_trained_as_unknown(mixed: Mixed, tmp_path: Path) -> None:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "<s>", "</s>"], show_progress=False)
    made.train_from_iterator(["# Instruction: Response: What is it? It is blue and it is not a word."] * 3, trainer)
    given = tokenizer_files(tmp_path / "tokenizer", made)
    artifact = mixed([pair("What is it?", "It is blue."), pair("What is not a word?", "It is 汉字.")], given)
    tokenized = tokenize(mixed.store, TokenizationConfig(max_length=64, min_proven=0.5), artifact, given)
    assert tokenized.counts.dropped == {"mask not proven": 1}
    (dropped,) = mixed.store.rows(tokenized, "dropped")
    assert "the tokenizer has no token for '汉字'" in dropped["evidence"]


def test_held_out_conversations_are_measured_on_one_text(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=trl_template("qwen3"))
    rows = [thinking() | {"messages": [*thinking()["messages"][:-1], {"role": "assistant", "content": f"{n}."}]}
            for n in range(40)]  # fmt: skip
    for n, row in enumerate(rows):
        row["messages"] = [{**row["messages"][0], "content": f"One {prose(n, 5)}?"}, *row["messages"][1:]]
    made = tokenize(mixed.store, TokenizationConfig(max_length=512), mixed(rows, given, heldout=0.3), given)
    heldout = list(mixed.store.rows(made, "heldout"))
    assert len(heldout) > 3
    assert len({row["row_ids"][0] for row in heldout}) == len(heldout)
    assert all("Two?" in byte_level().decode(row["input_ids"]) for row in heldout)


def test_held_out_conversations_are_never_split(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [pair(f"{prose(n, 20)}?", f"Yes {n}.") for n in range(60)]
    config = TokenizationConfig(max_length=64, too_long="split")
    made = tokenize(mixed.store, config, mixed(rows, tokenizer, heldout=0.3), tokenizer)
    assert made.tables["heldout"].rows == 0
    assert set(made.counts.dropped) == {"no trainable token"}
    assert all(row["split"] == "train" for row in mixed.store.rows(made, "cut"))


def test_a_vocabulary_with_holes_is_no_hindrance(mixed: Mixed, tmp_path: Path) -> None:
    tokenizer = json.loads(byte_level().to_str())
    end = tokenizer["model"]["vocab"]["</s>"]
    tokenizer["model"]["vocab"]["</s>"] = 5000
    tokenizer["added_tokens"] = [
        each | {"id": 5000 if each["id"] == end else each["id"]} for each in tokenizer["added_tokens"]
    ]
    given = tokenizer_files(tmp_path / "tokenizer", Tokenizer.from_str(json.dumps(tokenizer)))
    made = tokenize(mixed.store, TokenizationConfig(max_length=64), mixed([pair("Hi?", "Hello.")], given), given)
    (row,) = mixed.store.rows(made, "sequences")
    assert row["labels"][-1] == 5000


def test_a_difference_found_late_begins_again(
    mixed: Mixed, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = mixed([pair(f"Q{n}?", f"{prose(n, 6)}.") for n in range(30)], tokenizer)
    monkeypatch.setattr(proven_samples, "_ROWS_PER_BATCH", 10)
    wanted = tokenize(mixed.store, TokenizationConfig(max_length=64), artifact, tokenizer)
    honest, calls = encoding.are_equal, []
    monkeypatch.setattr(encoding, "are_equal", lambda *given: calls.append(1) or (len(calls) < 3 and honest(*given)))
    made = tokenize(mixed.store, TokenizationConfig(max_length=64, min_proven=0.5), artifact, tokenizer)
    assert len(calls) == 3
    assert [row["input_ids"] for row in mixed.store.rows(made, "sequences")] == [
        row["input_ids"] for row in mixed.store.rows(wanted, "sequences")
    ]
    assert any("fast tokenisation differed" in warning for warning in made.warnings)


def test_calls_need_not_be_trained(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=trl_template("qwen2_5"))
    config = TokenizationConfig(max_length=4096, packing=False, tool_calls=False)
    made = tokenize(mixed.store, config, mixed([ASKED], given), given)
    (row,) = mixed.store.rows(made, "sequences")
    assert [each.strip() for each in answers(byte_level(), row)] == ["Yes, take an umbrella.<|im_end|>"]


def test_a_conversation_that_the_template_refuses_is_dropped_with_its_words(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=MISTRAL)
    rows = [chat("Hi?", "Hello.", system="Be kind."), pair("How much?", "Four dollars.")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed(rows, given), given)
    assert made.counts.dropped == {"refused by the chat template": 1}
    (dropped,) = mixed.store.rows(made, "dropped")
    assert "roles must alternate" in dropped["evidence"]


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for m in messages %}{{ m.content }}", "line 1"),
        ("{% for m in messages %}\n{{ m.content }}{{ end_of_trun }}{% endfor %}", "end_of_trun"),
        ("{% for m in messages if m.role == 'user' %}{{ m.content }}<|im_end|>{% endfor %}", "assistant"),
        (
            "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}{{ ['a','b','c','d','e','f'] | random }}",
            "random",
        ),
    ],
)
def test_bad_templates_are_refused_before_any_row_is_read(
    mixed: Mixed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str, says: str
) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level())
    artifact = mixed([pair("Hi?", "Hello.")], given)
    monkeypatch.setattr(Store, "tables", lambda *_: pytest.fail("a row was read"))
    with pytest.raises(TemplateError, match=says):
        tokenize(mixed.store, TokenizationConfig(chat_template=template), artifact, given)


def test_a_date_in_a_template_is_the_recipes(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template="{{ strftime_now('%d %b %Y') }}\n" + CHATML)
    artifact = mixed([pair("Hi?", "Hello.")], given)
    for config, date in (({}, "26 Jul 2024"), ({"date": "2026-02-01"}, "01 Feb 2026")):
        made = tokenize(mixed.store, TokenizationConfig(max_length=256, **config), artifact, given)
        (row,) = mixed.store.rows(made, "sequences")
        assert byte_level().decode(row["input_ids"]).startswith(date)


def test_a_tokenizer_that_adds_tokens_to_a_prompt_does_not_shift_the_mask(mixed: Mixed, tmp_path: Path) -> None:
    """Tokenising the prompt by itself, with special tokens, counts one token too many."""
    made = byte_fallback()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(each, made.token_to_id(each)) for each in ("<s>", "</s>")]
    )
    given = tokenizer_files(tmp_path / "tokenizer", made)
    prompt, answer = "What is the fee of the card?", "It is 4."
    apart = len(made.encode(f"### Instruction:\n{prompt}\n\n### Response:\n").ids)
    tokenized = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed([pair(prompt, answer)], given), given)
    (row,) = mixed.store.rows(tokenized, "sequences")
    first = next(place for place, label in enumerate(row["labels"]) if label != NOT_TRAINED)
    assert first != apart
    assert answers(made, row) == [answer + "</s>"]
    assert row["input_ids"].count(made.token_to_id("<s>")) == row["input_ids"].count(made.token_to_id("</s>")) == 1


def test_padding_equal_to_the_end_of_sequence_leaves_the_real_end_trained(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), pad_token="</s>", padding_side="left")
    artifact = mixed([pair("Hi?", "Hello."), pair("How much is it?", "Four dollars.")], given)
    made = tokenize(mixed.store, TokenizationConfig(max_length=64, packing=False), artifact, given)
    end = byte_level().token_to_id("</s>")
    for row in mixed.store.rows(made, "sequences"):
        assert row["labels"][-1] == row["input_ids"][-1] == end
        assert row["input_ids"].count(end) == 1


@pytest.mark.parametrize("packing", [True, False])
def test_truncation_leaves_no_row_without_a_trainable_token(mixed: Mixed, tokenizer: Resource, packing: bool) -> None:
    rows = [pair("long question " * (2 * n), f"Answer {n}.") for n in range(1, 9)]
    config = TokenizationConfig(max_length=64, too_long="cut", packing=packing)
    made = tokenize(mixed.store, config, mixed(rows, tokenizer), tokenizer)
    assert 0 < made.counts.dropped["no trainable token"] < 8
    for row in mixed.store.rows(made, "sequences"):
        ends = [sum(row["seq_lengths"][: n + 1]) for n in range(len(row["seq_lengths"]))]
        for begin, end in zip([0, *ends], ends, strict=False):
            assert any(label != NOT_TRAINED for label in row["labels"][begin:end])


def test_the_proof_is_kept_with_its_figures_a_page_and_the_tokens_texts(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [chat("One?", f"First {n}.", "Two?", "Second.") for n in range(30)]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed(rows, tokenizer), tokenizer)
    whole, first, second = mixed.store.rows(made, "mask_figures")
    assert (whole["turns"], whole["proven_turns"], first["turns"], second["turns"]) == (60, 60, 30, 30)
    facts = mixed.store.manifest(made).facts
    assert (whole["tokens"], whole["trained_tokens"]) == (facts["tokens"], facts["trained_tokens"])
    assert list(mixed.store.rows(made, "mask_ends")) == [{"end": "</s>", "turns": 60}]
    assert len(list(mixed.store.rows(made, "mask_samples"))) == 24
    assert "30 of 30" in mixed.store.read_file(made, "masks.html").decode()
    texts = {row["id"]: row["text"] for row in mixed.store.rows(made, "vocabulary")}
    (sequence, *_) = mixed.store.rows(made, "sequences")
    spelled = b"".join(texts[each] for each in sequence["input_ids"]).decode()
    assert spelled == byte_level().decode(sequence["input_ids"], skip_special_tokens=False)


def test_answers_of_unrolled_conversations_that_do_not_fit_are_told_of(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=trl_template("qwen3"))
    row = thinking()
    row["messages"][3]["content"] = "Second " + prose(3, 60)
    made = tokenize(mixed.store, TokenizationConfig(max_length=100), mixed([row], given), given)
    facts = mixed.store.manifest(made).facts
    assert (made.counts.kept, facts["answers_lost"], facts["rows_cut"]) == (1, 1, 1)
    assert any("1 answers of conversations that give several texts are not trained" in each for each in made.warnings)
    (cut,) = mixed.store.rows(made, "cut")
    assert (cut["line"], cut["parts"]) == (1, 1)
    assert cut["kept"] < cut["tokens"]


def test_what_is_shown_of_a_split_row_is_where_its_parts_lie(mixed: Mixed, tokenizer: Resource) -> None:
    artifact = mixed([pair("long question " * 50, "No."), pair("Hi?", f"{prose(1, 50)} end.")], tokenizer)
    made = tokenize(mixed.store, TokenizationConfig(max_length=64, too_long="split"), artifact, tokenizer)
    ids = {row["line"]: row for row in mixed.store.rows(made, "mask_samples")}
    cut = {row["line"]: row for row in mixed.store.rows(made, "cut")}
    whole = cut[1]["tokens"]
    assert ids[1]["note"] == f"shown once; split: training has the tokens {whole // 64 * 64 + 1} to {whole}"
    assert ids[2]["note"].startswith("shown once; split: training has the tokens 1 to 64, 65 to 128")
    assert cut[1]["kept"] == whole % 64
    assert (cut[2]["kept"], cut[2]["parts"]) == (cut[2]["tokens"], -(-cut[2]["tokens"] // 64))


def test_rows_that_were_refused_are_not_counted_as_proven(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), template=MISTRAL)
    rows = [chat("Hi?", "Hello.", system="Be kind."), pair("How much?", "Four dollars.")]
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed(rows, given), given)
    assert "1 of 1 rows proven" in " ".join(mixed.store.read_file(made, "masks.html").decode().split())


def test_a_full_disk_is_told_of_in_words(mixed: Mixed, tokenizer: Resource) -> None:
    artifact = mixed([pair(f"Q{n}?", prose(n, 40)) for n in range(300)], tokenizer)
    code = (
        "import resource, signal, sys\n"
        "from tasks.artifacts.manifest import Artifact\n"
        "from tasks.artifacts.resource import Resource\n"
        "from tasks.artifacts.store import Store\n"
        "from tasks.tokenization import TokenizationConfig, tokenize\n"
        "artifact, given = (kind.model_validate_json(each) for kind, each in zip((Artifact, Resource), sys.argv[2:]))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "tokenize(Store(sys.argv[1]), TokenizationConfig(), artifact, given)\n"
    )
    arguments = [mixed.store.uri, artifact.model_dump_json(), tokenizer.model_dump_json()]
    command = [sys.executable, "-c", code, *arguments]
    finished = subprocess.run(command, capture_output=True, text=True)
    assert finished.returncode == 1
    assert re.search(
        r"OSError: .*File too large; token ids are kept in .* Make room there, or set TMPDIR", finished.stderr
    )


def test_a_model_that_holds_far_more_than_the_data_is_told_of(mixed: Mixed, tmp_path: Path) -> None:
    given = tokenizer_files(tmp_path / "tokenizer", byte_level(), positions=32768)
    artifact = mixed([pair("Hi?", "Hello.")], given)
    made = tokenize(mixed.store, TokenizationConfig(), artifact, given)
    assert any("the 99th percentile of the data, and the model 32,768" in warning for warning in made.warnings)
    assert not tokenize(mixed.store, TokenizationConfig(max_length=64), artifact, given).warnings


def test_turns_of_weight_zero_are_read_and_not_trained(mixed: Mixed, tokenizer: Resource) -> None:
    row = chat("One?", "Wrong answer.", "Two?", "Right answer.")
    row["messages"][1]["weight"] = 0
    row["messages"][3]["weight"] = 0.5
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), mixed([row], tokenizer), tokenizer)
    (sequence,) = mixed.store.rows(made, "sequences")
    assert answers(byte_level(), sequence) == ["Right answer.</s>"]
    assert "Wrong answer." in byte_level().decode(sequence["input_ids"])
    assert "1 turns have a loss weight" in made.warnings[0]


def test_each_sample_is_told_with_its_role(mixed: Mixed, tokenizer: Resource, tmp_path: Path) -> None:
    chats = [pair(f"Chat {n}?", f"{prose(n, 3)}.") for n in range(50)]
    general = source(tmp_path / "chats.jsonl", chats, role="general")
    rows = [pair(f"Question {n}?", f"{prose(100 + n, 3)}.") for n in range(50)]
    artifact = mixed(rows, tokenizer, heldout=0.2, beside=[general], shares={"general": 0.5, "domain": 0.5})
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), artifact, tokenizer)
    for table, origin in (("sequences", "mixture"), ("heldout", "heldout")):
        roles = {row["id"]: row["role"] for row in mixed.store.rows(artifact, origin)}
        told = list(mixed.store.rows(made, table))
        assert {role for row in told for role in row["roles"]} == {"general", "domain"}
        assert all(row["roles"] == [roles[each] for each in row["row_ids"]] for row in told)


def test_packed_rows_hold_each_sample_as_often_as_it_is_shown(mixed: Mixed, tokenizer: Resource) -> None:
    rows = [pair(f"Question {n}?", f"{prose(n, n % 12)} and {n}.") for n in range(300)]
    artifact = mixed(rows, tokenizer, heldout=0.1, total=500)
    made = tokenize(mixed.store, TokenizationConfig(max_length=256), artifact, tokenizer)
    sequences = list(mixed.store.rows(made, "sequences"))
    shown = {row["id"]: row["copies"] for row in mixed.store.rows(artifact, "mixture")}
    seen: dict[str, int] = {}
    for row in sequences:
        assert len(row["input_ids"]) == len(row["labels"]) == len(row["position_ids"]) == sum(row["seq_lengths"]) <= 256
        assert row["position_ids"] == [place for length in row["seq_lengths"] for place in range(length)]
        starts = [sum(row["seq_lengths"][:number]) for number in range(len(row["seq_lengths"]))]
        assert all(row["labels"][start] == NOT_TRAINED for start in starts)
        assert len(answers(byte_level(), row)) == len(row["row_ids"]) == len(row["seq_lengths"])
        for each in row["row_ids"]:
            seen[each] = seen.get(each, 0) + 1
    assert seen == shown
    facts = mixed.store.manifest(made).facts
    assert facts["fill"] > 0.95
    assert facts["tokens"] == sum(len(row["input_ids"]) for row in sequences)
    heldout = list(mixed.store.rows(made, "heldout"))
    assert heldout
    assert all(len(row["seq_lengths"]) == len(row["row_ids"]) == 1 and row["source"] == "faq" for row in heldout)
    assert not {row["row_ids"][0] for row in heldout} & set(seen)
    unpacked = tokenize(mixed.store, TokenizationConfig(max_length=256, packing=False), artifact, tokenizer)
    assert all(len(row["seq_lengths"]) == 1 for row in mixed.store.rows(unpacked, "sequences"))
    assert unpacked.tables["sequences"].rows == 500


@pytest.mark.parametrize(
    ("too_long", "kept", "dropped"),
    [
        ("turn", {"Hi!": ["Hello."], "One?": ["First."]}, {"no trainable token": 2}),
        ("cut", {"Hi!": ["Hello."], "One?": ["First.", "w2x0"], "Hi?": ["w1x0"]}, {"no trainable token": 1}),
        ("split", {"Hi!": ["Hello."], "One?": ["First.", "w2x0"], "Hi?": ["w1x0"], "long": ["No."]}, {}),
        ("drop", {"Hi!": ["Hello."]}, {"too long": 3}),
    ],
)
def test_too_long_rows_end_as_the_recipe_says_and_are_counted(
    mixed: Mixed, tokenizer: Resource, too_long: Any, kept: dict[str, list[str]], dropped: dict[str, int]
) -> None:
    rows = [
        pair("long question " * 50, "No."),
        pair("Hi?", f"{prose(1, 50)} end."),
        chat("One?", "First.", "Two?", f"{prose(2, 50)} end."),
        pair("Hi!", "Hello."),
    ]
    config = TokenizationConfig(max_length=64, too_long=too_long, packing=False)
    made = tokenize(mixed.store, config, mixed(rows, tokenizer), tokenizer)
    assert made.counts.dropped == dropped
    assert made.counts.kept == 4 - sum(dropped.values())
    trained = [answer for row in mixed.store.rows(made, "sequences") for answer in answers(byte_level(), row)]
    for wanted in (each for answers_of_row in kept.values() for each in answers_of_row):
        assert any(answer.startswith(wanted) for answer in trained), wanted
    if too_long in ("turn", "drop"):
        assert sorted(each.removesuffix("</s>") for each in trained) == sorted(
            each for row in kept.values() for each in row
        )
    assert mixed.store.manifest(made).facts["rows_cut"] == len(kept) - 1
    assert all(len(row["input_ids"]) <= 64 for row in mixed.store.rows(made, "sequences"))


def test_a_set_of_which_nothing_is_left_says_why(mixed: Mixed, tokenizer: Resource) -> None:
    long = mixed([pair(f"{n} long question " * 50, "No.") for n in range(3)], tokenizer)
    with pytest.raises(
        ValueError, match=r"no row of 3 is left to train on: 3 no trainable token, such as: .* in the first 16 of"
    ):
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
    "tampered",
    [
        lambda made: np.zeros_like(made),
        lambda made: np.roll(made, 1),
        lambda made: np.roll(made, -1),
        lambda made: np.append(made[:-1], False),
        lambda made: np.ones_like(made),
    ],
)
def test_masks_that_are_not_the_answers_stop_the_stage(
    mixed: Mixed, tokenizer: Resource, monkeypatch: pytest.MonkeyPatch, tampered: Any
) -> None:
    honest = proven_samples.trained_tokens
    monkeypatch.setattr(proven_samples, "trained_tokens", lambda tokens, ranges: tampered(honest(tokens, ranges)))
    artifact = mixed(
        [pair("What is the fee of the card, and who is it that pays it for all of us?", "It is 4.")], tokenizer
    )
    with pytest.raises(MaskError, match="only 0 of 1 rows are proven") as caught:
        tokenize(mixed.store, TokenizationConfig(), artifact, tokenizer)
    assert "faq faq.jsonl:1: " in str(caught.value)


def test_the_seed_orders_rows_and_nothing_else_does(mixed: Mixed, tokenizer: Resource, tmp_path: Path) -> None:
    rows = [pair(f"Q{n}?", f"A{n}.") for n in range(50)]
    artifact = mixed(rows, tokenizer)
    made = tokenize(mixed.store, TokenizationConfig(), artifact, tokenizer)
    other = Store(str(tmp_path / "other"))
    other.probe()
    again = Mixed(tmp_path / "again", other)
    assert tokenize(other, TokenizationConfig(), again(rows, tokenizer), tokenizer).content == made.content
    assert tokenize(mixed.store, TokenizationConfig(seed=1), artifact, tokenizer).content != made.content
