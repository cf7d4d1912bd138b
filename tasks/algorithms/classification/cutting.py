"""Pairs of long texts, cut before the tokenizer does: it builds all that overflows, which grows with the square."""

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

_MARGIN = 2
"""How many times the tokens that may stay are left to the tokenizer, so that its own cut decides what stays."""


def shortened(
    tokenizer: Tokenizer, texts: Sequence[str], pairs: Sequence[str], max_length: int
) -> Iterator[str | tuple[str, str]]:
    """What to give the tokenizer for each text, or pair where the second is not empty; it must not truncate yet."""
    for text, pair in zip(texts, pairs, strict=True):
        yield _cut(tokenizer, text, pair, _MARGIN * max_length) if pair else text


def _cut(tokenizer: Tokenizer, text: str, pair: str, most: int) -> tuple[str, str]:
    if len(text.encode()) + len(pair.encode()) <= most:  # no token is shorter than a byte
        return text, pair
    first, second = (tokenizer.encode(each, add_special_tokens=False).offsets for each in (text, pair))
    # The longer one stays the longer one: it gives way first, and gets the odd token.
    more = len(first) - len(second)
    return _begin(text, first, most + (more > 0)), _begin(pair, second, most + (more < 0))


def _begin(text: str, offsets: Sequence[tuple[int, int]], most: int) -> str:
    return text if len(offsets) <= most else text[: offsets[most - 1][1]]
