"""Texts in which some spelled control tokens are control tokens, and others are text and stay text.

A second tokenizer, made of the same file, has other spellings for all added tokens: private characters that no text
holds. Where a control token is meant it is respelled, and everything else is text to that tokenizer.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Encoding, Tokenizer

from tasks.algorithms.tokens.arrays import Places, Tokens
from tasks.algorithms.tokens.plain_tokens import joined_tokens

Span = tuple[int, int]

_PRIVATE = range(0xF0000, 0x10FFFE)
"""The code points of planes 15 and 16: nobody's characters."""
_OTHER = "·"
"""Stands for the characters of plain text while control tokens are looked for."""


class NeutralTokenError(Exception):
    """Text that could not be kept from becoming a control token."""


class _Control(NamedTuple):
    begin: int
    end: int
    """In characters."""
    number: int


class NeutralTokens:
    """Tokenises texts of which some ranges must be nothing but text."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._contents = {number: token.content for number, token in added.items() if token.content}
        self._order = {number: place for place, number in enumerate(self._contents)}
        self._unknown = tokenizer.token_to_id(str(getattr(tokenizer.model, "unk_token", None)))
        self._respelled: dict[int, Tokenizer] = {}

    def __call__(self, texts: Sequence[str], plain: Sequence[Sequence[Span]]) -> Tokens:
        """The tokens of texts, given the byte ranges of each that are plain."""
        spans = [_in_characters(text, ranges) for text, ranges in zip(texts, plain, strict=True)]
        hidden = [_hidden(text, ranges) for text, ranges in zip(texts, spans, strict=True)]
        found = self._tokenizer.encode_batch(hidden, add_special_tokens=False)
        controls = [self._meant(each, text, ranges) for each, text, ranges in zip(found, texts, spans, strict=True)]
        first = self._free_characters(texts)
        spelled = [self._respell(text, each, first) for text, each in zip(texts, controls, strict=True)]
        encodings = self._other(first).encode_batch([text for text, _ in spelled], add_special_tokens=False)
        made = []
        for text, wanted, (_, places), encoding in zip(texts, controls, spelled, encodings, strict=True):
            spans_of = [(places[begin], places[end]) for begin, end in encoding.offsets]
            self._prove(text, wanted, encoding.ids, spans_of)
            made.append(_tokens(text, encoding.ids, spans_of))
        return joined_tokens(made)

    def _meant(self, found: Encoding, text: str, plain: Sequence[Span]) -> list[_Control]:
        """The control tokens outside plain text."""
        return [
            _Control(begin, end, number)
            for number, (begin, end) in zip(found.ids, found.offsets, strict=True)
            if self._is_control(number, text[begin:end]) and not any(b < end and begin < e for b, e in plain)
        ]

    def _is_control(self, number: int, written: str) -> bool:
        """Whether it is an added token; that for unknown text only where it is spelled."""
        return number in self._contents and (number != self._unknown or self._contents[number] in written)

    def _respell(self, text: str, controls: Sequence[_Control], first: int) -> tuple[str, list[int]]:
        """The text with other control tokens, and where its characters and its end stand in the given one."""
        parts, places, done = list[str](), list[int](), 0
        for begin, end, number in controls:
            content = self._contents[number]
            at = text.find(content, begin, end)
            begin, end = (begin, end) if at < 0 else (at, at + len(content))  # white space beside it stays
            parts += [text[done:begin], chr(first + self._order[number])]
            places += [*range(done, begin), begin]
            done = end
        return "".join([*parts, text[done:]]), [*places, *range(done, len(text) + 1)]

    def _prove(self, text: str, wanted: Sequence[_Control], ids: Sequence[int], spans: Sequence[Span]) -> None:
        made = [
            _Control(begin, end, number)
            for number, (begin, end) in zip(ids, spans, strict=True)
            if self._is_control(number, text[begin:end])
        ]
        if made != list(wanted):
            different = sorted(set(made) ^ set(wanted))[0]
            raise NeutralTokenError(
                f"the tokenizer does not keep {self._contents[different.number]!r} apart from text that only spells "
                f"it, in {text[max(different.begin - 20, 0) : different.end + 20]!r}; set control_tokens to drop"
            )

    def _free_characters(self, texts: Sequence[str]) -> int:
        """The first of as many characters as there are added tokens that no text holds."""
        taken = {ord(character) for text in texts if not text.isascii() for character in set(text)}
        for first in range(_PRIVATE.start, _PRIVATE.stop - len(self._contents), len(self._contents) + 1):
            if taken.isdisjoint(range(first, first + len(self._contents))):
                return first
        raise NeutralTokenError("texts hold private characters of all kinds; filter them out")

    def _other(self, first: int) -> Tokenizer:
        if first not in self._respelled:
            spellings = {self._contents[number]: chr(first + place) for number, place in self._order.items()}
            self._respelled[first] = _with_spellings(self._tokenizer, spellings)
        return self._respelled[first]


def _with_spellings(tokenizer: Tokenizer, spellings: dict[str, str]) -> Tokenizer:
    """The tokenizer with other added tokens, under the same ids; its model knows no spelling of theirs either."""
    steps = json.loads(tokenizer.to_str())
    model = steps["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {spellings.get(token, token): number for token, number in model["vocab"].items()}
    else:
        model["vocab"] = [[spellings.get(token, token), score] for token, score in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = spellings.get(model["unk_token"], model["unk_token"])
    if "merges" in model:
        model["merges"] = [pair for pair in model["merges"] if not _makes(pair, spellings)]
    for token in steps["added_tokens"]:
        token["content"] = spellings.get(token["content"], token["content"])
        token["normalized"] &= tokenizer.normalizer is None or token["content"] in tokenizer.normalizer.normalize_str(
            token["content"]
        )
    made = Tokenizer.from_str(json.dumps(steps))
    moved = [old for old, new in spellings.items() if made.token_to_id(new) != tokenizer.token_to_id(old)]
    if moved:
        raise NeutralTokenError(f"the tokenizer's token {moved[0]!r} cannot be respelled; set control_tokens to drop")
    return made


def _makes(pair: Any, spellings: dict[str, str]) -> bool:
    left, right = pair.split(" ") if isinstance(pair, str) else pair
    return left in spellings or right in spellings or left + right in spellings


def _in_characters(text: str, ranges: Sequence[Span]) -> list[Span]:
    if text.isascii():
        return list(ranges)
    data = text.encode()
    return [(len(data[:begin].decode()), len(data[:end].decode())) for begin, end in ranges]


def _hidden(text: str, plain: Sequence[Span]) -> str:
    """The text without the inner characters of plain ranges; the outer ones have a say in what stands beside them."""
    for begin, end in plain:
        shown = 1 if end - begin > 2 else 0
        text = text[: begin + shown] + _OTHER * (end - begin - 2 * shown) + text[end - shown :]
    return text


def _tokens(text: str, ids: Sequence[int], spans: Sequence[Span]) -> Tokens:
    places = np.array(spans, dtype=np.int64).reshape(-1, 2)
    if not text.isascii():
        lengths = [len(character.encode()) for character in text]
        places = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])[places]
    begins: Places = np.ascontiguousarray(places[:, 0])
    offsets = np.array([0, len(ids)], dtype=np.int64)
    return Tokens(offsets, np.array(ids, dtype=np.int32), begins, np.ascontiguousarray(places[:, 1]))
