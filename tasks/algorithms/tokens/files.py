"""What a tokenizer's own description says: made fit for encoding rendered texts, and what its ids spell."""

import json
import re
from typing import Any, NamedTuple

import numpy as np
from tokenizers import AddedToken, Tokenizer

from tasks.algorithms.tokens.arrays import Places
from tasks.algorithms.word_hashes import Bytes

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Spelling(NamedTuple):
    """The bytes of id i are `data[offsets[i]:offsets[i + 1]]`; ids that are not in use have none."""

    data: Bytes
    offsets: Places


def as_it_encodes(tokenizer: Tokenizer, named: set[str]) -> Tokenizer:
    """The tokenizer without what only serves models' inputs, and with its control tokens found wherever they stand.

    As transformers has it, which sees to both when it loads a tokenizer: a token that a role names is a control token,
    and control tokens are found in the text as it is. (Llama 2's file says to look for them in the normalised text,
    where one is found only behind a space.)
    """
    added = tokenizer.get_added_tokens_decoder().values()
    if tokenizer.normalizer is not None and any(each.special and each.normalized for each in added):
        steps = json.loads(tokenizer.to_str())
        for each in steps["added_tokens"]:
            each["normalized"] &= not each["special"]
        tokenizer = Tokenizer.from_str(json.dumps(steps))
    missing = sorted(named - {each.content for each in added})
    known = [name for name in missing if tokenizer.token_to_id(name) is not None]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in known])
    # The files may say "pad to 512" or "cut at 512"; here every token counts.
    tokenizer.no_padding()
    tokenizer.no_truncation()
    # It adds tokens, which are rendered already, and may take white space from the bytes of tokens.
    tokenizer.post_processor = None
    return tokenizer


def spelling(tokenizer: Tokenizer) -> Spelling | None:
    """What ids spell, for byte-level vocabularies and those of SentencePiece that fall back to bytes.

    That of a tokenizer that composes characters first (NFC, as Qwen's does) is the composed text.
    """
    steps = json.loads(tokenizer.to_str())
    model = steps["model"]
    if model["type"] != "BPE":
        return None
    normalizers, splitters = (_types(steps[name]) for name in ("normalizer", "pre_tokenizer"))
    if "ByteLevel" in splitters and normalizers <= {"NFC"}:
        alphabet = _byte_alphabet()
        spelled = {
            number: bytes(alphabet[character] for character in token)
            for token, number in model["vocab"].items()
            if all(character in alphabet for character in token)
        }
    elif model.get("byte_fallback") and normalizers <= {"Prepend", "Replace"} and splitters <= {"Metaspace"}:
        spelled = {number: _sentence_piece(token) for token, number in model["vocab"].items()}
    else:
        return None
    spelled |= {each["id"]: each["content"].encode() for each in steps["added_tokens"]}
    size = max(spelled, default=-1) + 1
    lengths = np.array([len(spelled.get(number, b"")) for number in range(size)], dtype=np.int64)
    data = np.frombuffer(b"".join(spelled.get(number, b"") for number in range(size)), dtype=np.uint8)
    return Spelling(data, np.concatenate([np.zeros(1, dtype=np.int64), lengths]).cumsum())


def _types(step: dict[str, Any] | None) -> set[str]:
    if step is None:
        return set()
    if step["type"] == "Sequence":
        inner = step["normalizers"] if "normalizers" in step else step["pretokenizers"]
        return {name for each in inner for name in _types(each)}
    return {step["type"]}


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()


def _byte_alphabet() -> dict[str, int]:
    """The character by which byte-level vocabularies write each byte."""
    kept = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in kept]
    return {chr(byte): byte for byte in kept} | {chr(0x100 + place): byte for place, byte in enumerate(others)}
