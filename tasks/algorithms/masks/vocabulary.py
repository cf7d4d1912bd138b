"""What the mask proof has to know of a tokenizer, to read ids back."""

import json
import re
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer, pre_tokenizers

from tasks.algorithms.tokens.arrays import Ids
from tasks.algorithms.tokens.files import Spelling

_SPACE = "▁"
_BYTE = re.compile("<0x([0-9A-F]{2})>")


class Vocabulary(NamedTuple):
    """What ids are written with, and which of them do more than stand for that."""

    written: Spelling
    """The bytes that each id is written with. A tokenizer that changes texts writes them otherwise than they are."""
    unknown: int | None
    """The id for all that the tokenizer has no other for."""
    before: Ids
    """Added tokens that take in the white space in front of them."""
    behind: Ids
    """Those that take in the white space behind them."""


def vocabulary_of(tokenizer: Tokenizer, spelling: Spelling | None) -> Vocabulary:
    """The vocabulary of a tokenizer; `spelling` is what its ids spell exactly, if they do."""
    added = tokenizer.get_added_tokens_decoder().items()
    return Vocabulary(
        spelling or _written(tokenizer),
        _unknown(tokenizer),
        np.array(sorted(number for number, token in added if token.lstrip), dtype=np.int32),
        np.array(sorted(number for number, token in added if token.rstrip), dtype=np.int32),
    )


def _unknown(tokenizer: Tokenizer) -> int | None:
    # Unigram models name it by its number, and nowhere but in their state.
    state = json.loads(tokenizer.model.__getstate__())
    number, text = state.get("unk_id"), state.get("unk_token")
    found: int | None = number if text is None else tokenizer.token_to_id(text)
    return found


def _written(tokenizer: Tokenizer) -> Spelling:
    steps = [_state(tokenizer.normalizer), _state(tokenizer.pre_tokenizer)]
    letters = _letters() if any('"ByteLevel"' in each for each in steps) else None
    model = tokenizer.model
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    spelled = {
        number: _bytes(token, letters, prefix, suffix)
        for token, number in tokenizer.get_vocab(with_added_tokens=False).items()
    }
    added = tokenizer.get_added_tokens_decoder()
    spelled |= {number: token.content.encode() for number, token in added.items()}
    data = [spelled.get(number, b"") for number in range(max(spelled, default=-1) + 1)]
    offsets = np.cumsum([0, *map(len, data)], dtype=np.int64)
    return Spelling(np.frombuffer(b"".join(data), dtype=np.uint8), offsets)


def _bytes(token: str, letters: dict[str, int] | None, prefix: str, suffix: str) -> bytes:
    if letters is not None and all(letter in letters for letter in token):
        return bytes(letters[letter] for letter in token)
    if byte := _BYTE.fullmatch(token):
        return bytes.fromhex(byte[1])
    if len(token) > len(prefix):
        token = token.removeprefix(prefix)
    return token.removesuffix(suffix).replace(_SPACE, " ").encode()


def _letters() -> dict[str, int]:
    """The byte of each letter of byte-level vocabularies: its own, or those left over in order."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    own = {letter: ord(letter) for letter in letters if ord(letter) < 0x100}
    rest = sorted(set(range(0x100)) - set(own.values()))
    return own | dict(zip((letter for letter in letters if letter not in own), rest, strict=True))


def _state(step: Any) -> str:
    return "" if step is None else step.__getstate__().decode()
