"""Which prompts are held out: a stable choice by what a prompt asks, not by how it is written."""

import hashlib
import unicodedata
from typing import Final

from tasks.conversation import words

_COURTESIES: Final = frozenset({"please", "kindly", "thanks", "thank", "you"})
_IS_WORD: Final = [chr(code).isalnum() or chr(code) == "_" for code in range(128)]
_WORDS_ONLY: Final = bytes(ord(chr(code).lower()) if _IS_WORD[code] else 0x20 for code in range(128)) + bytes(128)
"""For ASCII: lower case, and spaces for all that is no part of a word."""


def prompt_key(prompt: str) -> str:
    """What near copies of a prompt have in common: its words, without case, accents, punctuation and spacing.

    Compatibility forms (full width, ligatures) count as plain letters, and courtesies at either end do not count.
    Numbers do: "What is 2 + 2?" is another question than "What is 3 + 5?". A prompt without words is its own key.
    """
    if prompt.isascii():
        found = prompt.encode().translate(_WORDS_ONLY).decode().split()
    else:
        letters = unicodedata.normalize("NFKD", prompt.casefold())
        found = words("".join(letter for letter in letters if not unicodedata.combining(letter)))
    while found and found[-1] in _COURTESIES:
        found.pop()
    start = 0
    while start < len(found) and found[start] in _COURTESIES:
        start += 1
    return " ".join(found[start:]) or prompt.strip()


def is_held_out(prompt: str, fraction: float) -> bool:
    """Whether a prompt is one of the fraction (0–1) that is held out: by a hash of its key, so data may be added."""
    hashed = hashlib.sha256(f"heldout:{prompt_key(prompt)}".encode()).digest()
    return int.from_bytes(hashed[:8]) < fraction * 2**64
