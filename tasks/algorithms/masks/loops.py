"""The compiled half of the mask proof: each text's tokens and trained ranges, read byte by byte."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.compiled import compiled
from tasks.algorithms.tokens.arrays import Flags, Ids, Places

Bytes = npt.NDArray[np.uint8]

SOUND, GAP, ORDER, MISSPELT, OVERTRAINED, UNTRAINED, RANGES, DROPPED = range(8)
"""What is wrong with a text. `DROPPED`: there may be nothing wrong, but text that is no white space has no token."""
MOST_LITERAL_BYTES = 64
"""What a template may write before or behind what a message says and have trained: an empty thought, an end token."""
BEFORE, BEHIND = 1, 2
_SPACE = 0x20
_WIDEST_BLANK = 3
"""So many bytes has the longest white space in UTF-8."""


class Spelled(NamedTuple):
    """What ids spell (nothing where they do not), and which of them do more than spell."""

    data: Bytes
    bounds: Places
    opens: Flags
    """Ids behind which a tokenizer may put a space of its own."""
    takes: Bytes
    """Whether ids take in the white space in front of them, `BEFORE`, or `BEHIND` them."""


class Read(NamedTuple):
    """Room for what is found in n texts with k trained ranges."""

    fault: Bytes
    """(n) the first thing that is wrong."""
    where: Places
    """(n) at which token, or for `RANGES` at which range, both counted over the batch."""
    first: Places
    """(k) the first token that shares a byte with the range, -1 where none does."""
    last: Places
    """(k) the token behind the last one that does."""


class TokenColumns(NamedTuple):
    """`Tokens` with their labels."""

    offsets: Places
    ids: Ids
    begins: Places
    ends: Places
    trained: Flags


class RangeColumns(NamedTuple):
    """`Ranges`."""

    offsets: Places
    begins: Places
    ends: Places


@compiled
def read_tokens(
    text: Bytes, bounds: Places, tokens: TokenColumns, ranges: RangeColumns, spelled: Spelled, read: Read
) -> None:
    """Whether the tokens of each text cover it, spell it, and are trained where they share a byte with a range."""
    for each in range(len(bounds) - 1):
        begin, end = int(ranges.offsets[each]), int(ranges.offsets[each + 1])
        wrong = _wrong_range(ranges, begin, end, bounds[each + 1] - bounds[each])
        if wrong >= 0:
            read.fault[each], read.where[each] = RANGES, wrong
            continue
        fault, where = _read_labels(text, int(bounds[each]), tokens, ranges, each, spelled, read)
        if fault == SOUND:
            fault, where = _read_text(text, int(bounds[each]), int(bounds[each + 1]), tokens, each, spelled)
        read.fault[each], read.where[each] = fault, where


@compiled
def _wrong_range(ranges: RangeColumns, first: int, stop: int, size: int) -> int:
    """The first range that overlaps another one, is empty, or leaves its text; -1 where none does."""
    reached = 0
    for k in range(first, stop):
        if ranges.begins[k] < reached or ranges.ends[k] <= ranges.begins[k] or ranges.ends[k] > size:
            return k
        reached = int(ranges.ends[k])
    return -1


@compiled
def _read_labels(
    text: Bytes, base: int, tokens: TokenColumns, ranges: RangeColumns, each: int, spelled: Spelled, read: Read
) -> tuple[int, int]:
    """Whether exactly the tokens that share a byte with a range are trained; notes those of each range."""
    current, stop = int(ranges.offsets[each]), int(ranges.offsets[each + 1])
    takes = spelled.takes
    for token in range(tokens.offsets[each], tokens.offsets[each + 1]):
        begin, end = int(tokens.begins[token]), int(tokens.ends[token])
        number = tokens.ids[token]
        if 0 <= number < len(takes) and takes[number] and base + end <= len(text):
            begin, end = _own(text, base, begin, end, takes[number])
        while current < stop and ranges.ends[current] <= begin:
            current += 1
        k = current
        while k < stop and ranges.begins[k] < end and begin < end:
            if read.first[k] < 0:
                read.first[k] = token
            read.last[k] = token + 1
            k += 1
        if (k > current) != tokens.trained[token]:
            return (UNTRAINED if k > current else OVERTRAINED), token
    return SOUND, -1


@compiled
def _read_text(text: Bytes, base: int, last: int, tokens: TokenColumns, each: int, spelled: Spelled) -> tuple[int, int]:
    """Whether the tokens of a text follow one another, cover it, and spell it."""
    spells, size = len(spelled.bounds) > 1, last - base
    first, stop = int(tokens.offsets[each]), int(tokens.offsets[each + 1])
    reached, before, opening = 0, 0, True
    # Tokens that share a character are read together.
    shared = first
    dropped = -1
    for token in range(first, stop + 1):
        begin, end = (int(tokens.begins[token]), int(tokens.ends[token])) if token < stop else (size, size)
        if begin < before or end < begin or end > size:
            return ORDER, token
        before = begin
        if begin >= reached and token > shared:
            shown = base + tokens.begins[shared], base + reached
            alone = tokens.ids[shared]
            wrong = spells and not _is_spelt(text, *shown, tokens.ids, shared, token, spelled, opening)
            if wrong and (token - shared > 1 or not _is_spelt_within(text, *shown, alone, spelled)):
                return MISSPELT, shared
            opening = token - shared == 1 and 0 <= alone < len(spelled.opens) and spelled.opens[alone]
            shared = token
        if begin > reached and spells:
            return GAP, token
        for at in range(base + reached, base + begin):
            if text[at] > _SPACE:
                dropped = token
        reached = max(reached, end)
    return (SOUND, -1) if dropped < 0 else (DROPPED, dropped)


@compiled
def _is_spelt(
    text: Bytes, begin: int, end: int, ids: Ids, first: int, stop: int, spelled: Spelled, opening: bool
) -> bool:
    """Whether the tokens from `first` to `stop`, which share characters, spell the bytes from `begin` to `end`.

    Some tokenizers put a space of their own where a text or, behind a control token, a stretch of it opens.
    """
    bounds, size = spelled.bounds, 0
    for token in range(first, stop):
        if ids[token] < 0 or ids[token] >= len(bounds) - 1:
            return False
        size += bounds[ids[token] + 1] - bounds[ids[token]]
    at = end - size
    if at != begin and not (at == begin - 1 and opening):
        return False
    for token in range(first, stop):
        for place in range(bounds[ids[token]], bounds[ids[token] + 1]):
            if spelled.data[place] != (_SPACE if at < begin else text[at]):
                return False
            at += 1
    return True


@compiled
def _is_spelt_within(text: Bytes, begin: int, end: int, token: int, spelled: Spelled) -> bool:
    """Whether a token that takes in white space spells the rest of its bytes."""
    if not 0 <= token < len(spelled.takes) or not spelled.takes[token]:
        return False
    begin, end = _own(text, 0, begin, end, spelled.takes[token])
    first, stop = spelled.bounds[token], spelled.bounds[token + 1]
    return np.array_equal(text[begin:end], spelled.data[first:stop])


@compiled
def _own(text: Bytes, base: int, begin: int, end: int, takes: int) -> tuple[int, int]:
    """The range of a token without the white space that it takes in."""
    while takes & BEFORE and begin < end and 0 < _blank(text, base + begin) <= end - begin:
        begin += _blank(text, base + begin)
    width = 1
    while takes & BEHIND and width:
        width = 0
        for each in range(1, min(_WIDEST_BLANK, end - begin) + 1):
            if _blank(text, base + end - each) == each:
                width = each
        end -= width
    return begin, end


@compiled
def _blank(text: Bytes, at: int) -> int:
    """How many bytes the white space has that begins at a place; 0 where none does."""
    first = text[at]
    if first == _SPACE or 0x09 <= first <= 0x0D:
        return 1
    if first == 0xC2 and at + 1 < len(text):
        return 2 if text[at + 1] == 0x85 or text[at + 1] == 0xA0 else 0
    if at + 2 >= len(text):
        return 0
    point = (int(first) << 16) | (int(text[at + 1]) << 8) | int(text[at + 2])
    wide = 0xE28080 <= point <= 0xE2808A or point == 0xE280A8 or point == 0xE280A9 or point == 0xE280AF
    return 3 if wide or point == 0xE19A80 or point == 0xE2819F or point == 0xE38080 else 0


@compiled
def read_ranges(
    text: Bytes,
    starts: Places,
    stops: Places,
    content: Bytes,
    content_bounds: Places,
    reasoning: Bytes,
    reasoning_bounds: Places,
    message: Places,
    simple: Flags,
    opening: Places,
    closing: Places,
) -> None:
    """Where what a message says begins and ends in its range; -1 where the range holds more, or takes a closer look.

    `starts` and `stops` are places in the bytes of all texts, and so is what is found.
    """
    for k in range(len(starts)):
        opening[k], closing[k] = -1, -1
        if not simple[k]:
            continue
        place, said = int(starts[k]), -1
        begin, end = _stripped(reasoning, reasoning_bounds[message[k]], reasoning_bounds[message[k] + 1])
        if begin < end:
            said = _found(text, place, stops[k], reasoning, begin, end)
            if said < 0:
                continue
            place = said + end - begin
        begin, end = _stripped(content, content_bounds[message[k]], content_bounds[message[k] + 1])
        at = _found(text, place, stops[k], content, begin, end)
        if at < 0:
            continue
        stop = at + end - begin
        if stops[k] - stop > MOST_LITERAL_BYTES or not _says(text, stop, stops[k]):
            continue
        if begin < end and _found(text, stop, stops[k], content, begin, end) >= 0:
            continue
        opening[k], closing[k] = at if said < 0 else said, stop


@compiled
def read_tails(
    text: Bytes, base: Places, ends: Places, token_begins: Places, first: Places, last: Places, begins: Places
) -> None:
    """Where the last token of each range begins that is not white space; its end where there is none."""
    for k in range(len(base)):
        token = last[k] - 1
        while token >= first[k] and not _says(text, begins[k], ends[k]):
            begins[k] = min(base[k] + token_begins[token], ends[k])
            token -= 1


@compiled
def _stripped(data: Bytes, begin: int, end: int) -> tuple[int, int]:
    while begin < end and _is_space(data[begin]):
        begin += 1
    while begin < end and _is_space(data[end - 1]):
        end -= 1
    return begin, end


@compiled
def _is_space(byte: int) -> bool:
    """As Python strips it, of ASCII."""
    return byte == _SPACE or 9 <= byte <= 13 or 28 <= byte <= 31


@compiled
def _found(text: Bytes, place: int, stop: int, data: Bytes, begin: int, end: int) -> int:
    """Where some bytes stand in a text, within a few bytes of a place; −1 where they do not."""
    size = end - begin
    for at in range(place, min(place + MOST_LITERAL_BYTES, stop - size) + 1):
        same = 0
        while same < size and text[at + same] == data[begin + same]:
            same += 1
        if same == size:
            return at
    return -1


@compiled
def _says(text: Bytes, begin: int, end: int) -> bool:
    while begin < end and _is_space(text[begin]):
        begin += 1
    return begin < end
