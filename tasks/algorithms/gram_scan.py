"""Word n-grams of known questions in a table, and the loops that look every n-gram of a text up in it.

An n-gram's key is a polynomial of its words' hashes, so that the next key of a text costs two multiplications, and a
longer n-gram's key one more. A bit for the first words of every n-gram keeps most of a text away from the table.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.compiled import compiled
from tasks.algorithms.word_hashes import Hashes, Offsets

Numbers = npt.NDArray[np.int32]
Weights = npt.NDArray[np.float64]

_MULTIPLIER, _GOLDEN = np.uint64(0xD1342543DE82EF95), np.uint64(0x9E3779B97F4A7C15)
_BITS_PER_GRAM = 16
_ABSENT = -1


class Table(NamedTuple):
    """Distinct keys by number, found by open addressing, behind a filter of what n-grams begin with."""

    keys: Hashes
    slots: Numbers
    shift: np.uint64
    bits: npt.NDArray[np.uint8]
    bit_shift: np.uint64


class Postings(NamedTuple):
    """Where each numbered n-gram stands in the questions, and what it is worth."""

    starts: Offsets
    """Of each n-gram's run of `places`, by number, and the end."""
    places: Numbers
    question_of: Numbers
    """By place: the n-grams of all questions lie one behind the other."""
    weight_of: Weights
    """By place; 0 for boilerplate."""
    firsts: Offsets
    """Each question's first place, and the end."""
    sizes: Numbers
    """Words of an n-gram of each question."""
    of_words: Weights
    """What the words of each question are worth together."""
    of_grams: Weights
    """What the n-grams of each question are worth together."""


def table_of(keys: Hashes, beginnings: Hashes) -> tuple[Table, Numbers]:
    """A table of keys with the number of each key given, in order of first sight."""
    width = max(4, int(2 * len(keys)).bit_length())
    bit_width = max(6, int(_BITS_PER_GRAM * len(keys)).bit_length())
    slots, bits = np.full(1 << width, _ABSENT, dtype=np.int32), np.zeros(1 << (bit_width - 3), dtype=np.uint8)
    shift, bit_shift = np.uint64(64 - width), np.uint64(64 - bit_width)
    distinct, numbers = np.empty(len(keys), dtype=np.uint64), np.empty(len(keys), dtype=np.int32)
    count = _number(keys, slots, shift, distinct, numbers)
    _set_bits(beginnings, bits, bit_shift)
    return Table(distinct[:count].copy(), slots, shift, bits, bit_shift), numbers


@compiled
def _number(keys: Hashes, slots: Numbers, shift: np.uint64, distinct: Hashes, numbers: Numbers) -> int:
    count, last = 0, len(slots) - 1
    for place in range(len(keys)):
        slot = np.int64((keys[place] * _GOLDEN) >> shift)
        while slots[slot] >= 0 and distinct[slots[slot]] != keys[place]:
            slot = (slot + 1) & last
        if slots[slot] < 0:
            slots[slot] = count
            distinct[count] = keys[place]
            count += 1
        numbers[place] = slots[slot]
    return count


@compiled
def _set_bits(beginnings: Hashes, bits: npt.NDArray[np.uint8], shift: np.uint64) -> None:
    for place in range(len(beginnings)):
        bit = np.int64((beginnings[place] * _GOLDEN) >> shift)
        bits[bit >> 3] |= np.uint8(1 << (bit & 7))


@compiled
def _may_begin(beginning: np.uint64, table: Any) -> bool:
    bit = np.int64((beginning * _GOLDEN) >> table.bit_shift)
    return bool((table.bits[bit >> 3] >> np.uint8(bit & 7)) & 1)


@compiled
def _number_of(key: np.uint64, table: Any) -> int:
    slot = np.int64((key * _GOLDEN) >> table.shift)
    while table.slots[slot] >= 0:
        if table.keys[table.slots[slot]] == key:
            return int(table.slots[slot])
        slot = (slot + 1) & (len(table.slots) - 1)
    return _ABSENT


@compiled
def _polynomial(words: Hashes, begin: int, end: int) -> np.uint64:
    value = np.uint64(0)
    for place in range(begin, end):
        value = value * _MULTIPLIER + words[place]
    return value


@compiled
def numbers_of(keys: Hashes, table: Any) -> Numbers:
    """The number of each key, or -1."""
    found = np.empty(len(keys), dtype=np.int32)
    for place in range(len(keys)):
        found[place] = _number_of(keys[place], table)
    return found


@compiled
def whole_keys(words: Hashes, offsets: Offsets, beginning: int) -> tuple[Hashes, Hashes]:
    """The key of all words of each text together, and the polynomial of so many that it begins with."""
    keys = np.empty(len(offsets) - 1, dtype=np.uint64)
    beginnings = np.empty(len(offsets) - 1, dtype=np.uint64)
    for text in range(len(offsets) - 1):
        begin, end = offsets[text], offsets[text + 1]
        keys[text] = _polynomial(words, begin, end) + np.uint64(end - begin)
        beginnings[text] = _polynomial(words, begin, min(end, begin + beginning))
    return keys, beginnings


@compiled
def gram_keys(words: Hashes, offsets: Offsets, sizes: Numbers, beginning: int) -> tuple[Hashes, Hashes, Offsets]:
    """All n-grams of all questions (none where the size is 0), what they begin with, and each question's first."""
    firsts = np.zeros(len(offsets), dtype=np.int64)
    for question in range(len(sizes)):
        length = offsets[question + 1] - offsets[question]
        firsts[question + 1] = firsts[question] + (length - sizes[question] + 1 if sizes[question] > 0 else 0)
    keys = np.empty(firsts[-1], dtype=np.uint64)
    beginnings = np.empty(firsts[-1], dtype=np.uint64)
    for question in range(len(sizes)):
        for gram in range(firsts[question + 1] - firsts[question]):
            begin, place = offsets[question] + gram, firsts[question] + gram
            keys[place] = _polynomial(words, begin, begin + sizes[question]) + np.uint64(sizes[question])
            beginnings[place] = _polynomial(words, begin, begin + beginning)
    return keys, beginnings, firsts


@compiled
def holders(words: Hashes, offsets: Offsets, table: Any, least: int, most: int) -> Numbers:
    """In how many texts each n-gram of a table stands, be it as a part of longer ones."""
    counts = np.zeros(len(table.keys), dtype=np.int32)
    last = np.full(len(table.keys), -1, dtype=np.int64)
    for text in range(len(offsets) - 1):
        for begin in range(offsets[text], offsets[text + 1] - least + 1):
            key = _polynomial(words, begin, begin + least)
            if not _may_begin(key, table):
                continue
            for size in range(least, min(most, offsets[text + 1] - begin) + 1):
                if size > least:
                    key = key * _MULTIPLIER + words[begin + size - 1]
                gram = _number_of(key + np.uint64(size), table)
                if gram >= 0 and last[gram] != text:
                    last[gram] = text
                    counts[gram] += 1
    return counts


@compiled
def grouped(numbers: Numbers, count: int) -> tuple[Offsets, Numbers]:
    """The places of each number, in order: where its run begins, and all runs."""
    starts = np.zeros(count + 1, dtype=np.int64)
    for place in range(len(numbers)):
        starts[numbers[place] + 1] += 1
    for number in range(count):
        starts[number + 1] += starts[number]
    ends = starts.copy()
    places = np.empty(len(numbers), dtype=np.int32)
    for place in range(len(numbers)):
        places[ends[numbers[place]]] = place
        ends[numbers[place]] += 1
    return starts, places


@compiled
def worth(question: int, marks: Numbers, mark: int, weight_of: Weights, firsts: Offsets, sizes: Numbers) -> float:
    """What the words of a question are worth that lie in its marked n-grams: each as much as the best of them."""
    total, first, grams = 0.0, firsts[question], firsts[question + 1] - firsts[question]
    for word in range(grams + sizes[question] - 1):
        best = 0.0
        for gram in range(max(0, word - sizes[question] + 1), min(word, grams - 1) + 1):
            if marks[first + gram] == mark and weight_of[first + gram] > best:
                best = weight_of[first + gram]
        total += best
    return total


@compiled
def totals(weight_of: Weights, firsts: Offsets, sizes: Numbers) -> tuple[Weights, Weights]:
    """What all words and what all n-grams of each question are worth."""
    marks = np.zeros(len(weight_of), dtype=np.int32)
    of_words, of_grams = np.zeros(len(sizes), dtype=np.float64), np.zeros(len(sizes), dtype=np.float64)
    for question in range(len(sizes)):
        if firsts[question + 1] > firsts[question]:
            of_words[question] = worth(question, marks, 0, weight_of, firsts, sizes)
            of_grams[question] = weight_of[firsts[question] : firsts[question + 1]].sum()
    return of_words, of_grams


@compiled
def contained(
    words: Hashes, offsets: Offsets, table: Any, postings: Any, sizes: tuple[int, int], enough: float, edited: float
) -> tuple[Numbers, Numbers]:
    """Pairs of a text and a question that share enough of its n-grams, or of its words even if edited, by worth."""
    least, most = sizes
    texts, questions, pairs = np.empty(64, dtype=np.int32), np.empty(64, dtype=np.int32), 0
    marks = np.zeros(len(postings.question_of), dtype=np.int32)
    seen = np.zeros(len(table.keys), dtype=np.int32)
    touched, scores = np.zeros(len(postings.sizes), dtype=np.int32), np.zeros(len(postings.sizes), dtype=np.float64)
    known = np.empty(len(postings.sizes), dtype=np.int32)
    leaving = np.uint64(1)
    for _ in range(least - 1):
        leaving *= _MULTIPLIER
    for text in range(len(offsets) - 1):
        begin, end, mark, count = offsets[text], offsets[text + 1], text + 1, 0
        beginning = _polynomial(words, begin, min(end, begin + least))
        for place in range(begin, end - least + 1):
            if place > begin:
                beginning = (beginning - words[place - 1] * leaving) * _MULTIPLIER + words[place + least - 1]
            if not _may_begin(beginning, table):
                continue
            key = beginning
            for size in range(least, min(most, end - place) + 1):
                if size > least:
                    key = key * _MULTIPLIER + words[place + size - 1]
                gram = _number_of(key + np.uint64(size), table)
                if gram < 0 or seen[gram] == mark:
                    continue
                seen[gram] = mark
                for entry in range(postings.starts[gram], postings.starts[gram + 1]):
                    where = postings.places[entry]
                    if postings.weight_of[where] == 0.0:
                        break
                    question = postings.question_of[where]
                    if touched[question] != mark:
                        touched[question], scores[question], known[count] = mark, 0.0, question
                        count += 1
                    marks[where] = mark
                    scores[question] += postings.weight_of[where]
        for question in known[:count]:
            held = scores[question] >= enough * postings.of_grams[question]
            # No word can be worth more than all n-grams that it lies in: most questions are settled by that alone.
            if not held and scores[question] * postings.sizes[question] >= edited * postings.of_words[question]:
                value = worth(question, marks, mark, postings.weight_of, postings.firsts, postings.sizes)
                held = value >= edited * postings.of_words[question]
            if held:
                if pairs == len(texts):
                    texts, questions = _doubled(texts), _doubled(questions)
                texts[pairs], questions[pairs] = text, question
                pairs += 1
    return texts[:pairs], questions[:pairs]


@compiled
def _doubled(numbers: Numbers) -> Numbers:
    larger = np.empty(2 * len(numbers), dtype=np.int32)
    larger[: len(numbers)] = numbers
    return larger


@compiled
def holding_short(words: Hashes, offsets: Offsets, table: Any, least: int, most: int) -> npt.NDArray[np.bool_]:
    """Which texts hold a whole entry of so many words of a table anywhere."""
    found = np.zeros(len(offsets) - 1, dtype=np.bool_)
    for text in range(len(offsets) - 1):
        end = offsets[text + 1]
        for begin in range(offsets[text], end - least + 1):
            key = _polynomial(words, begin, begin + least)
            if not _may_begin(key, table):
                continue
            for size in range(least, min(most, end - begin) + 1):
                if size > least:
                    key = key * _MULTIPLIER + words[begin + size - 1]
                if _number_of(key + np.uint64(size), table) >= 0:
                    found[text] = True
        # An entry may be all of a text, which is found sooner otherwise, but it is also a sentence of it.
    return found


@compiled
def sentence_entries(words: Hashes, sentences: Offsets, texts: Offsets, table: Any, least: int, most: int) -> Numbers:
    """The first entry of a table that is a sentence of each text, or several from mark to mark; or -1."""
    found = np.full(len(texts) - 1, -1, dtype=np.int32)
    for text in range(len(texts) - 1):
        for first in range(texts[text], texts[text + 1]):
            for last in range(first, texts[text + 1]):
                begin, end = sentences[first], sentences[last + 1]
                if end - begin > most or found[text] >= 0:
                    break
                if end - begin >= least:
                    key = _polynomial(words, begin, end) + np.uint64(end - begin)
                    found[text] = _number_of(key, table)
    return found
