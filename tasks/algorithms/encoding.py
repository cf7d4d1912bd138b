"""A tokenizer read from its files, without transformers and without torch."""

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Encoding, Tokenizer

from tasks.algorithms.token_counts import Counts, TokenCounts
from tasks.algorithms.token_edges import parts_at_edges
from tasks.artifacts.resource import Resource, ResourceError, read_bytes

TEXTS_PER_BATCH = 1000


class TextEncoder:
    """Tokenises texts with character offsets; knows the special tokens and the chat template that came along."""

    def __init__(self, tokenizer: Tokenizer, settings: dict[str, Any], chat_template: str | None) -> None:
        self.tokenizer = tokenizer
        # The files may say "pad to 512" or "cut at 512"; here every token counts.
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.settings = settings
        self.chat_template = chat_template

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

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encodings of texts that already hold their special tokens."""
        encodings: list[Encoding] = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return encodings

    def count(self, texts: Sequence[str] | pa.Array) -> Counts:
        """How many tokens each text has, special tokens apart."""
        given = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
        parts = [given.slice(start, TEXTS_PER_BATCH) for start in range(0, len(given), TEXTS_PER_BATCH)]
        return np.concatenate([np.empty(0, dtype=np.int64), *map(self._counts, parts)])

    @cached_property
    def _counts(self) -> Callable[[pa.Array], Counts]:
        return TokenCounts(self.tokenizer) if parts_at_edges(self.tokenizer) else self._count_encodings

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
