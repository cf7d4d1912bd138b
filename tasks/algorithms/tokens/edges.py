"""Which tokenizers part their tokens wherever a text has an edge, so that what lies between edges counts by itself.

An edge lies before a space that follows anything but white space, and before a tab, a line break or a punctuation
mark that follows a letter or digit (all ASCII; `_` is no such mark).
"""

import json
import re
from typing import Any

from tokenizers import Tokenizer, models

EDGE = re.compile(r"(?<=\S)(?= )|(?<=[0-9A-Za-z])(?=[\t\n!-/:-@\[-^`{-~])")

_PATTERNS = frozenset(
    [
        *("(?i:'s|'t|'re|'ve|'m|'ll|'d)", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
        *(r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+", r"\p{N}", r"\p{N}{1,3}"),
        *(r"[^\r\n\p{L}\p{N}]?\p{L}+", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s*[\r\n]"),
        *(_SPACE := (r"\s+(?!\S)", r"\s+")),
    ]
)
"""Alternatives of published patterns (GPT-2, cl100k, Llama 3, Qwen): none matches across an edge."""
_NOT_IN_PARENTHESES = re.compile(r"\|(?![^(]*\))")
_NORMALIZERS = frozenset({"NFC", "NFD", "Lowercase", "StripAccents", "BertNormalizer"})
"""They change each character by itself or with the marks that follow it."""
_SPLITTERS = frozenset({"BertPreTokenizer", "Whitespace"})


def parts_at_edges(tokenizer: Tokenizer) -> bool:
    """True for a tokenizer each of whose steps is known to keep edges; false for one that nobody has looked at."""
    model = tokenizer.model
    splitters = _flat(_state(tokenizer.pre_tokenizer), "pretokenizers")
    if not all(map(_keeps_edges, _flat(_state(tokenizer.normalizer), "normalizers"))):
        return False
    if isinstance(model, models.BPE) and not model.dropout:
        # Reading a whole vocabulary takes a while.
        is_whole = all(each["type"] == "Metaspace" and each["replacement"] == "▁" for each in splitters)
        return _merges_apart(json.loads(tokenizer.to_str())["model"]) if is_whole else _splits(splitters)
    return isinstance(model, models.WordPiece) and _splits(splitters)


def _state(step: Any) -> dict[str, Any] | None:
    return None if step is None else json.loads(step.__getstate__())


def _flat(step: dict[str, Any] | None, within: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    return [each for inner in step[within] for each in _flat(inner, within)] if step["type"] == "Sequence" else [step]


def _keeps_edges(normalizer: dict[str, Any]) -> bool:
    if normalizer["type"] == "Prepend":
        return bool(normalizer["prepend"] == "▁")
    if normalizer["type"] == "Replace":
        return normalizer["pattern"] == {"String": " "} and bool(normalizer["content"] == "▁")
    return normalizer["type"] in _NORMALIZERS


def _splits(splitters: list[dict[str, Any]]) -> bool:
    """Whether a text is split at every edge: each step splits at some, or keeps what an earlier one split."""
    kinds = [_kind(each) for each in splitters]
    return "splits" in kinds and "unknown" not in kinds


def _kind(splitter: dict[str, Any]) -> str:
    if splitter["type"] == "ByteLevel":
        return "splits" if splitter["use_regex"] else "keeps"
    if splitter["type"] != "Split":
        return "splits" if splitter["type"] in _SPLITTERS else "keeps" if splitter["type"] == "Digits" else "unknown"
    alternatives = set(_NOT_IN_PARENTHESES.split(splitter["pattern"].get("Regex", "")))
    if not alternatives <= _PATTERNS or splitter["behavior"] != "Isolated" or splitter["invert"]:
        return "unknown"
    return "splits" if alternatives.issuperset(_SPACE) else "keeps"


def _merges_apart(model: dict[str, Any]) -> bool:
    """Whether a model that is given whole texts, or words, has no merge across an edge (SentencePiece makes none)."""
    if not model["byte_fallback"] or model.get("ignore_merges") or "▁" not in model["vocab"]:
        return False
    pairs = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    return not any(EDGE.search("".join(pair).replace("▁", " ")) for pair in pairs)
