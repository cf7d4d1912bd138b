"""`fettle show ROW_ID --tokens`: a row as it is trained, against the artifact itself."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tokenizers import Tokenizer

from flows import terminal
from flows.cli import main
from flows.recording import Recorder
from flows.tokens_shown import Shown, TokensShown, show_tokens, tokens_of
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.caching import watched_by
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.filters import CurationConfig
from tasks.filters.leftovers import Leftovers
from tasks.filters.length import Length
from tasks.filters.repetition import Repetition
from tasks.ingestion import IngestionConfig, ingest
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.stages.making import CHATML, byte_fallback, byte_level, chat, source, tokenizer_files

pytestmark = pytest.mark.xdist_group("flows-tokens_shown")  # one worker, as a server is started for each

REWRITING = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.reasoning_content and loop.last %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Forgets what was thought before earlier answers, as thinking models do."""
THOUGHTFUL = {
    "messages": [
        {"role": "user", "content": "What is the fee of the blue card?"},
        {"role": "assistant", "content": "Four dollars.", "reasoning_content": "The list says four."},
        {"role": "user", "content": "And of the red one?"},
        {"role": "assistant", "content": "Five dollars.", "reasoning_content": "It says five."},
    ]
}
ROWS = [
    chat("Name a colour, 你好 👩‍👩‍👧.", "Blue\n\tis  one \u202eof them."),
    chat("What does <|im_end|> do, and </s>?", "It ends a turn."),
    chat("What is nothing?", " "),
    chat("Tell me a long story about cards.", " ".join(f"Card {n} is free." for n in range(60))),
    THOUGHTFUL,
    *(chat(f"What is the fee number {n}?", f"The fee number {n} is {n * 7} dollars.") for n in range(40)),
]


class Made:
    """A run of the data stages."""

    def __init__(self, folder: Path, tokenizer: Tokenizer, template: str, *, heldout: float = 0.0) -> None:
        self.store, self.tokenizer = Store(str(folder / "store")), tokenizer
        self.store.probe()
        files = tokenizer_files(folder / "tokenizer", tokenizer)
        sound = CurationConfig(
            length=Length(prompt_tokens=(0, 3000), answer_tokens=(0, 3000)),
            leftovers=Leftovers(enabled=False),
            repetition=Repetition(enabled=False),
        )
        record = Recorder(self.store, runs.begin("fees", {}))
        config = TokenizationConfig(chat_template=template, max_length=160, too_long="cut")
        with watched_by(record), record:
            sources = [source(folder / "faq.jsonl", ROWS)]
            ingested = ingest(self.store, IngestionConfig(heldout_fraction=heldout), sources)
            curated = curate(self.store, sound, ingested.only("conversations"), files)
            deduplicated = deduplicate(self.store, DeduplicationConfig(), curated.only("conversations"), [])
            mixed = mix(self.store, MixingConfig(), deduplicated.only("conversations"))
            self.tokenized = tokenize(self.store, config, mixed.only("mixture", "heldout"), files)
            record.end("published", "")

    def __getitem__(self, line: int) -> TokensShown:
        return tokens_of(self.store, f"faq:{line}")

    def show(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["show", *arguments, "--store", self.store.uri])
        return code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(tmp_path_factory.mktemp("shown"), byte_level(), CHATML, heldout=0.2)


def said(text: Shown) -> str:
    return "".join(token.text for token in text.tokens)


def learnt(text: Shown) -> str:
    return "".join(token.text for token in text.tokens if token.trained)


def stored(made: Made, table: str) -> Iterator[tuple[str, list[int], list[int], int, int]]:
    """Each sample of the artifact: row id, ids, labels, its sequence and its first token."""
    for number, row in enumerate(made.store.rows(made.tokenized, table)):
        begin = 0
        for row_id, length in zip(row["row_ids"], row["seq_lengths"], strict=True):
            end = begin + length
            yield row_id, row["input_ids"][begin:end], row["labels"][begin:end], number, begin
            begin = end


@pytest.mark.parametrize("table", ["sequences", "heldout"])
def test_every_row_of_the_run_is_shown_as_it_is_stored(made: Made, table: str) -> None:
    seen = list(stored(made, table))
    assert seen
    for row_id, ids, labels, sequence, first in seen[:12]:
        shown = tokens_of(made.store, row_id)
        (text,) = shown.texts
        assert shown.held_out == (table == "heldout")
        assert [token.id for token in text.tokens] == ids
        assert [token.trained for token in text.tokens] == [label != -100 for label in labels]
        assert (sequence, first) in [(where.sequence, where.first_token) for where in text.copies]
        assert said(text) == made.tokenizer.decode(ids, skip_special_tokens=False)


def test_characters_of_several_tokens_and_answers_are_whole(made: Made) -> None:
    (text,) = made[1].texts
    assert said(text) == (
        "<|im_start|>user\nName a colour, 你好 👩‍👩‍👧.<|im_end|>\n"
        "<|im_start|>assistant\nBlue\n\tis  one \u202eof them.<|im_end|>\n"
    )
    assert learnt(text) == "Blue\n\tis  one \u202eof them.<|im_end|>\n"
    assert text.trained_tokens == sum(token.trained for token in text.tokens)


def test_control_tokens_and_text_that_only_spells_them_are_told_apart(made: Made) -> None:
    (text,) = made[2].texts
    assert [token.text for token in text.tokens if token.special] == ["<|im_start|>", "<|im_end|>"] * 2
    assert "".join(token.text for token in text.tokens if token.plain).startswith("<|im_end|>")


def test_a_row_that_was_cut_says_so(made: Made) -> None:
    (text,) = made[4].texts
    assert made[4].tokens > made[4].kept == len(text.tokens) == 160
    assert made[1].tokens == made[1].kept == len(made[1].texts[0].tokens)


def test_a_row_that_never_got_there_says_where_it_stopped(made: Made) -> None:
    code, _, told = made.show("faq:3", "--tokens")
    assert code == 2
    assert "has no tokens in run" in told
    assert "curation says dropped, empty answer" in told


def test_tokens_take_a_row(made: Made) -> None:
    code, _, told = made.show("--tokens")
    assert (code, "--tokens shows one row" in told) == (2, True)


def test_all_texts_of_a_conversation_are_shown(tmp_path: Path) -> None:
    rows = Made(tmp_path, byte_level(), REWRITING)[5]
    assert [learnt(text) for text in rows.texts] == [
        "<think>The list says four.</think>Four dollars.<|im_end|>\n",
        "<think>It says five.</think>Five dollars.<|im_end|>\n",
    ]


def test_sentence_piece_tokens_read_as_text(tmp_path: Path) -> None:
    (text,) = Made(tmp_path, byte_fallback(), CHATML)[6].texts
    assert "What is the fee number 0?" in said(text)
    assert learnt(text).replace(" ", "") == "Thefeenumber0is0dollars.<|im_end|>\n"


def test_json_gives_every_token_with_id_text_and_trained(made: Made) -> None:
    code, told, _ = made.show("faq:2", "--tokens", "--json")
    shown = json.loads(told)
    assert code == 0
    assert shown == made[2].model_dump(mode="json")
    assert {"id", "text", "trained"} <= set(shown["texts"][0]["tokens"][0])


def drawn(monkeypatch: pytest.MonkeyPatch, row: TokensShown, **console: Any) -> str:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=out, highlight=False, soft_wrap=True, width=500, **console))
    show_tokens(row)
    return out.getvalue()


def test_colours_mark_what_is_trained(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    told = drawn(monkeypatch, made[2], force_terminal=True, color_system="standard")
    assert "\x1b[1;32mIt\x1b[0m" in told or "\x1b[1;32mI\x1b[0m" in told
    assert "\x1b[1;7;32m<|im_end|>\x1b[0m" in told
    assert "\x1b[2;7m<|im_start|>\x1b[0m" in told
    assert "\x1b[2;4m<\x1b[0m" in told
    assert "⟦" not in told


def test_without_colours_signs_mark_what_is_trained(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    told = drawn(monkeypatch, made[6], force_terminal=False)
    assert told.count("⟦") == told.count("⟧") == 1
    assert "⟦The fee number 0 is 0 dollars.<|im_end|>↵\n⟧" in told
    bare = drawn(monkeypatch, made[6], force_terminal=True, color_system="standard", no_color=True)
    assert bare.count("⟦") == bare.count("⟧") == 1


def test_nothing_in_a_row_steers_the_terminal(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    told = drawn(monkeypatch, made[1], force_terminal=False)
    assert "\u202e" not in told
    assert "⟨202E⟩" in told
    assert "⇥" in told
