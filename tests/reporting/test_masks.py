"""The page of the masks: every token seen as what it is, whatever it says."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

from tasks.algorithms.masks.examples import SampleRows
from tasks.algorithms.masks.figures import MaskFigures
from tasks.reporting.masks import MaskPage, SampleFacts, TokenFacts, pieces, render
from tests.algorithms.chatml_batches import assistant, batch, user
from tests.reporting.hostile import ATTACK
from tests.reporting.test_browser import CONTRASTS, OVERFLOW
from tests.stages.making import byte_level

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Scheme = Literal["light", "dark"]
TOKENIZER = byte_level()
PROSE = "A card that is frozen cannot be used for new payments. Tap on Settings, then on Freeze.\n\n- It is free.\n- "


def page() -> MaskPage:
    """The page of a batch of rows of several kinds, as the stage makes it."""
    rows: list[Any] = [[user(f"How do I freeze card {n}?"), assistant(PROSE + "It is done.")] for n in range(5)]
    rows += [
        [{"role": "system", "content": "You are brief."}, user("Name a colour."), assistant("Blue."),
         user("And one more?\twith  spaces"), assistant("你好 👩‍👩‍👧 green.")],
        [user("שלום"), assistant("def add(a, b):\n    return a + b", reasoning="They want code.")],
    ]  # fmt: skip
    made = batch(TOKENIZER, rows)
    samples, figures, proof = SampleRows(list(TOKENIZER.get_added_tokens_decoder())), MaskFigures(), made.prove()
    samples.add(made.rows, made.rendered, made.tokens, made.trained)
    figures.add(made.rows.column("source"), made.rendered, made.tokens, made.trained, proof)
    told = samples.rows()
    told[0] |= {"kept": [40], "note": "cut at 40 tokens; sequence 7, from token 120"}
    kinds = {"figures": figures.table().to_pylist(), "ends": figures.ends().to_pylist(), "samples": told}
    return MaskPage.model_validate({"rows": 12345, "proven": 12345, **kinds})


EXAMPLE = page()


def of_tokens(*texts: str, **more: Any) -> MaskPage:
    tokens = tuple(TokenFacts(id=at, text=text, trained=at % 2 == 1, **more) for at, text in enumerate(texts))
    sample = SampleFacts(row_id="ab", source=ATTACK, file=ATTACK, line=3, split="train", kinds=(ATTACK,),
                         texts=(tokens,), lengths=(len(tokens),), kept=(None,), note=ATTACK)  # fmt: skip
    return MaskPage(rows=2, proven=1, faults=(ATTACK,), samples=(sample,))


class Tokens(HTMLParser):
    """The tokens of a page: what each says and its classes; and all tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tokens: list[tuple[str, str, str]] = []
        self.tags: set[str] = set()
        self._open: dict[str, str | None] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "i" and dict(attributes).get("title"):
            self._open = dict(attributes)
            self.tokens.append(("", self._open.get("class") or "", self._open["title"] or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "i":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            text, names, title = self.tokens[-1]
            self.tokens[-1] = text + data, names, title


def test_trained_control_and_neutralised_tokens_are_told_apart() -> None:
    tokens = (
        TokenFacts(id=3, text="<|im_start|>", trained=False, special=True),
        TokenFacts(id=9, text="Blue", trained=True),
        TokenFacts(id=4, text="<|im_end|>", trained=True, special=True),
        TokenFacts(id=5, text="</s>", trained=False, plain=True),
    )
    sample = EXAMPLE.samples[0].model_copy(update={"texts": (tokens,), "lengths": (4,), "kept": (None,)})
    found = Tokens(render(EXAMPLE.model_copy(update={"samples": (sample,)}))).tokens
    assert [(text, names) for text, names, _ in found] == [
        ("<|im_start|>", "c"), ("Blue", "t"), ("<|im_end|>", "t c"), ("</s>", "p"),
    ]  # fmt: skip
    assert found[2][2] == "2: id 4, trained, control token"


def test_every_token_of_a_row_stands_on_the_page_in_its_own_words() -> None:
    told = [token for sample in EXAMPLE.samples for text in sample.texts for token in text]
    found = Tokens(render(EXAMPLE)).tokens
    assert len(found) == len(told)
    for token, (text, names, title) in zip(told, found, strict=True):
        assert ("t" in names.split()) == token.trained
        assert f"id {token.id}" in title
        if token.text.isprintable() and token.text.strip():
            assert text == token.text


def test_the_verdict_shares_and_ends_stand_above() -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", render(EXAMPLE)))
    assert "12,345 of 12,345 rows proven" in text
    whole = next(each for each in EXAMPLE.figures if (each.source, each.turn) == ("s0", 0))
    assert f"{whole.trained_share * 100:.1f}%" in text
    assert "&lt;|im_end|&gt;↵" in text
    assert "training has the first 40" in text
    assert "sequence 7, from token 120" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("word", [(False, "word")]),
        (" word", [(False, " word")]),
        ("  ", [(True, "··")]),
        (".\n\n", [(False, "."), (True, "↵\n↵\n")]),
        ("\ta", [(True, "⇥"), (False, "a")]),
        ("a\u202eb", [(False, "a"), (True, "⟨202E⟩"), (False, "b")]),
        ("\x00", [(True, "␀")]),
        ("\r", [(True, "⟨D⟩")]),
        ("", []),
    ],
)
def test_white_space_and_what_has_no_shape_get_signs(text: str, shown: list[tuple[bool, str]]) -> None:
    assert list(pieces(text)) == shown


def test_hostile_text_is_only_text() -> None:
    hostile = of_tokens(ATTACK, "</i></div><script>", "\u202e", "\u2066", "\x1b[31m", "\ud800", special=True)
    html = render(hostile)
    html.encode()
    assert not {"script", "img"} & Tokens(html).tags
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00\x1b]", html)
    assert "1 of 2 rows proven" in html


def test_the_page_is_the_same_each_time() -> None:
    assert render(page()) == render(EXAMPLE)


def visit(browser: "Browser", folder: Path, facts: MaskPage, width: int = 1280, scheme: Scheme = "light") -> "Page":
    file = folder / "masks.html"
    file.write_text(render(facts), encoding="utf-8")
    opened = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    opened.goto(file.as_uri(), wait_until="networkidle")
    return opened


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 400, 800, 1280])
def test_nothing_is_wider_than_the_window(browser: "Browser", tmp_path: Path, width: int) -> None:
    for facts in (EXAMPLE, of_tokens("w" * 5000, ATTACK, "\u202e" * 50, "e" + "\u0301" * 500)):
        opened = visit(browser, tmp_path, facts, width)
        assert opened.evaluate(OVERFLOW) <= 0
        opened.close()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_is_legible(browser: "Browser", tmp_path: Path, scheme: Scheme) -> None:
    opened = visit(browser, tmp_path, EXAMPLE, scheme=scheme)
    contrasts = opened.evaluate(CONTRASTS)
    opened.close()
    assert len(contrasts) > 200
    assert [entry for entry in contrasts if entry[0] < 4.5] == []
