"""A tokenizer read from its files, without transformers and without torch."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tokenizers import AddedToken, Encoding, Tokenizer

from tasks.algorithms.tokens.added_tokens import added_tokens
from tasks.algorithms.tokens.arrays import Ranges, Tokens
from tasks.algorithms.tokens.edges import parts_at_edges
from tasks.algorithms.tokens.files import Spelling, as_it_encodes, spelling
from tasks.algorithms.tokens.neutral_tokens import NeutralTokens
from tasks.algorithms.tokens.piece_tokens import Counts, PieceTokens
from tasks.algorithms.tokens.plain_tokens import are_equal, interleaved, plain_tokens, texts_of
from tasks.algorithms.word_hashes import buffers
from tasks.artifacts.resource import Resource, ResourceError, read_bytes

TEXTS_PER_BATCH = 1000
_PROVEN_TEXTS = 256
"""So many of each run's first texts are tokenised both ways."""
_PROVEN_OF_EACH = 8
"""And so many of each batch after them."""
_GIVEN_UP = (
    "The fast tokenisation differed from the tokenizer's own on texts of this run, so all texts were tokenised by the "
    "tokenizer itself, which takes longer."
)
_TOKEN_NAMES = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


class TextEncoder:
    """Tokenises texts with the bytes that each token takes; knows the special tokens and the chat template given."""

    def __init__(self, tokenizer: Tokenizer, settings: dict[str, Any], chat_template: str | None) -> None:
        self.tokenizer = as_it_encodes(tokenizer, _named_tokens(settings))
        self.settings = settings
        self.chat_template = chat_template
        self.notes: list[str] = []
        """What the user must know of how texts were tokenised."""
        self.must_begin_again = False
        """Whether the fast way was given up after it had tokenised texts: then those must be tokenised again."""
        self._gave_fast = False
        self._unproven = _PROVEN_TEXTS

    @property
    def bos(self) -> str | None:
        """The token that opens a text, if the tokenizer has one."""
        return _token_text(self.settings.get("bos_token"))

    @property
    def eos(self) -> str:
        """The token that ends an answer."""
        eos = _token_text(self.settings.get("eos_token"))
        if eos is None:
            raise ResourceError("the tokenizer names no eos_token, so a model could never learn to stop; set one")
        if self.tokenizer.token_to_id(eos) is None:
            raise ResourceError(f"the tokenizer's eos_token is {eos!r}, which is none of its tokens; name one that is")
        return eos

    @cached_property
    def special(self) -> tuple[str, ...]:
        """The control tokens, spelled out."""
        named = _named_tokens(self.settings)
        return tuple(each.content for each in self._added if each.special or each.content in named)

    @cached_property
    def added(self) -> tuple[str, ...]:
        """Tokens that are found as they are spelled like control tokens, but are none."""
        return tuple(each.content for each in self._added if each.content not in self.special)

    @cached_property
    def _added(self) -> list[AddedToken]:
        return [token for _, token in sorted(self.tokenizer.get_added_tokens_decoder().items()) if token.content]

    @cached_property
    def spelling(self) -> Spelling | None:
        """The bytes that each id stands for; None where a tokenizer changes texts, so that ids do not spell them."""
        return spelling(self.tokenizer)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encodings of texts that already hold their special tokens."""
        encodings: list[Encoding] = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def tokens(self, texts: pa.Array, plain: Ranges) -> Tokens:
        """All tokens of texts that spell their special tokens; what lies in plain ranges is never a control token."""
        has_plain = np.diff(plain.offsets) > 0
        if not has_plain.any():
            return self._tokens(texts)
        chosen = pa.array(has_plain)
        ranges = [
            list(zip(plain.begins[begin:end].tolist(), plain.ends[begin:end].tolist(), strict=True))
            for begin, end in zip(plain.offsets[:-1][has_plain], plain.offsets[1:][has_plain], strict=True)
        ]
        neutral = self._neutral_tokens(texts.filter(chosen).to_pylist(), ranges)
        others = pc.if_else(chosen, pa.scalar("", texts.type), texts)
        return interleaved(self._tokens(others), has_plain, neutral)

    def without_spaces(self, texts: pa.Array, tokens: Tokens) -> Tokens:
        """The tokens with their own bytes only: some control tokens take in the white space beside them (Phi-3)."""
        added = self.tokenizer.get_added_tokens_decoder().items()
        stripping = [number for number, token in added if token.lstrip or token.rstrip]
        found = np.flatnonzero(np.isin(tokens.ids, stripping)) if stripping else np.empty(0, np.int64)
        if not len(found):
            return tokens
        begins, ends = tokens.begins.copy(), tokens.ends.copy()
        data, bounds = buffers(texts)
        starts = bounds[np.searchsorted(tokens.offsets, found, "right") - 1]
        for token, start in zip(found.tolist(), starts.tolist(), strict=True):
            text = data[start + begins[token] : start + ends[token]].tobytes().decode()
            begins[token] += len(text.encode()) - len(text.lstrip().encode())
            ends[token] -= len(text.encode()) - len(text.rstrip().encode())
        return Tokens(tokens.offsets, tokens.ids, begins, ends)

    def _tokens(self, texts: pa.Array) -> Tokens:
        if self._pieces is not None:
            made = self._pieces.tokens(texts)
            if self._is_proven(texts, made):
                self._gave_fast = True
                return made
            self.notes.append(_GIVEN_UP)
            self._pieces, self.must_begin_again = None, self._gave_fast
        return plain_tokens(self.tokenizer, texts.to_pylist())

    def _is_proven(self, texts: pa.Array, made: Tokens) -> bool:
        """Compare the first texts of all, and some of each later batch, with what the tokenizer itself says."""
        filled = np.flatnonzero(pc.binary_length(texts).to_numpy(zero_copy_only=False))
        count = min(max(self._unproven, _PROVEN_OF_EACH), len(filled))
        places = filled[np.linspace(0, len(filled) - 1, count).astype(np.int64)] if count else filled
        self._unproven = max(0, self._unproven - count)
        wanted = plain_tokens(self.tokenizer, texts.take(pa.array(places)).to_pylist())
        return are_equal(texts_of(made, places), wanted)

    @cached_property
    def _neutral_tokens(self) -> NeutralTokens:
        return NeutralTokens(self.tokenizer)

    @cached_property
    def _pieces(self) -> PieceTokens | None:
        added = added_tokens(self.tokenizer) if parts_at_edges(self.tokenizer) else None
        return PieceTokens(self.tokenizer, added) if added else None

    def count(self, texts: Sequence[str] | pa.Array) -> Counts:
        """How many tokens each text has, special tokens apart."""
        given = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
        if self._pieces is not None:
            return self._pieces.counts(given)
        parts = [given.slice(start, TEXTS_PER_BATCH) for start in range(0, len(given), TEXTS_PER_BATCH)]
        return np.concatenate([np.empty(0, dtype=np.int64), *map(self._count_encodings, parts)])

    def _count_encodings(self, texts: pa.Array) -> Counts:
        encodings = self.tokenizer.encode_batch_fast(texts.to_pylist(), add_special_tokens=False)
        return np.array([len(each) for each in encodings], dtype=np.int64)


def load_encoder(tokenizer: Resource) -> TextEncoder:
    """The tokenizer of a model folder: `tokenizer.json`, its configuration, and its chat template where it has one."""
    if "tokenizer.json" not in tokenizer.files:
        raise ResourceError(
            f"{tokenizer.uri} has no tokenizer.json; save it as a fast tokenizer: "
            "AutoTokenizer.from_pretrained(…, use_fast=True).save_pretrained(…)"
        )
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if name in tokenizer.files:
            settings |= _parsed(tokenizer, name)
    template = settings.get("chat_template")
    if "chat_template.jinja" in tokenizer.files:
        template = read_bytes(tokenizer, "chat_template.jinja").decode()
    if isinstance(template, list):
        template = next((each["template"] for each in template if each["name"] == "default"), None)
    return TextEncoder(_tokenizer(tokenizer), settings, template)


def _parsed(tokenizer: Resource, name: str) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(read_bytes(tokenizer, name))
    except ValueError as error:
        raise ResourceError(f"{tokenizer.uri}: {name} is no JSON: {error}") from None
    return settings


def _tokenizer(tokenizer: Resource) -> Tokenizer:
    try:
        return Tokenizer.from_str(read_bytes(tokenizer, "tokenizer.json").decode())
    except ResourceError:
        raise
    except Exception as error:  # the library raises plain exceptions
        raise ResourceError(f"{tokenizer.uri}: tokenizer.json is no tokenizer: {error}") from error


def _token_text(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token


def _named_tokens(settings: dict[str, Any]) -> set[str]:
    """The tokens to which the settings give a role."""
    named = [settings.get(name) for name in _TOKEN_NAMES]
    for field in ("additional_special_tokens", "extra_special_tokens"):  # as it was called before transformers 5
        several = settings.get(field) or []
        named += several.values() if isinstance(several, dict) else several
    return {text for text in map(_token_text, named) if text}
