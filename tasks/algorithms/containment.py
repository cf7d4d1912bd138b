"""Which texts hold a known question: word n-grams shared with it, and where.

Hashes only choose candidates; what is reported was found again in the words themselves.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.gram_scan import (
    Numbers,
    Postings,
    Table,
    contained,
    gram_keys,
    grouped,
    holders,
    holding_short,
    numbers_of,
    sentence_entries,
    table_of,
    totals,
    whole_keys,
)
from tasks.algorithms.word_hashes import WordHashes, word_hashes
from tasks.conversation import words

NGRAM = 8
"""Words of an n-gram. Shorter questions count as one n-gram of their own length."""
MIN_WORDS = 4
"""Questions with fewer words ("What is it?") are matched only as a whole text."""
SHORT_WORDS = 6
"""Questions with fewer words ("What do you do?") are matched only as a whole text or whole sentences of it."""
BOILERPLATE_QUESTIONS = 10
"""N-grams that more questions share are how a benchmark asks, not what; up to there each holder counts a share."""
MIN_CONTAINMENT = 0.5
"""Share of a question's n-grams that a text must hold to hold the question."""
MIN_EDITED = 0.6
"""Of a long question it is enough that so many of its words lie in shared n-grams: a word changed here and there
leaves few n-grams whole."""
LONG_WORDS = 20
"""Questions with as many words are long. In a shorter one, one word other asks another thing."""
MIN_WORDS_HELD = 0.5
"""Share of a question's words, boilerplate and all, that a text must hold too, or else `LONG_RUN` of them in a row:
less of a question is a turn of phrase in it, and not the question."""
LONG_RUN = 13
"""Words in a row that are no coincidence (the n-gram of Brown et al. 2020, appendix C)."""
NUMBERS = 0.05
"""Where numbers are so many of a question's words, a text must hold half of them: a problem with other numbers is
another problem."""

Reach = Literal["anywhere", "sentence", "whole", "nowhere"]

_SENTENCE_MARKS = r"[.!?:;。！？\n\"“”]+"
_TEXTS_AT_ONCE = 1 << 14
_SPAN_WORDS = 40
_ROUNDING = 1e-9
"""Taken from what the words must show, so that no rounding of hashes' shares keeps a text from them."""


class Match(NamedTuple):
    """A question found in a text."""

    question: str
    containment: float
    """Share of the question's words that lie in n-grams shared with the text."""
    span: str
    """The longest run shared that is no boilerplate, as words; of a long one the beginning."""


def column(texts: Sequence[str]) -> pa.Array:
    """Texts for Arrow, which has no place for half a surrogate pair; it belongs to no word."""
    return pa.array([text.encode(errors="replace").decode() for text in texts], pa.large_string())


class QuestionIndex:
    """Questions by their n-grams, to be looked up for many texts."""

    def __init__(self, questions: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        """Take in questions: the name of each that evidence will show, and its text. Of equal ones the first counts.

        With `whole` a text must hold all of a question, not most of it.

        A text that another one of the same name begins with ("Which is true?", and the same with its choices) is
        matched only as a whole text.
        """
        self._names, self._texts, opening = _distinct(list(questions))
        self._least, self._edited, self._share = (1.0,) * 3 if whole else (MIN_CONTAINMENT, MIN_EDITED, MIN_WORDS_HELD)
        hashed = word_hashes(column(self._texts))
        lengths = np.diff(hashed.offsets)
        sizes = np.where((lengths >= SHORT_WORDS) & ~opening, np.minimum(lengths, NGRAM), 0).astype(np.int32)
        texts, beginnings = whole_keys(*hashed, MIN_WORDS)
        self._whole, _ = table_of(texts, beginnings)
        short = (lengths >= MIN_WORDS) & (lengths < SHORT_WORDS) & ~opening
        self._short, _ = table_of(texts[short], beginnings[short])
        self._short_questions = np.flatnonzero(short)
        self._grams, self._postings = _postings(hashed, sizes)

    def reach(self, text: str) -> Reach:
        """Where the index can find a question: anywhere in a text, as a sentence of it, only as all of it, or never."""
        hashed = word_hashes(column([text]))
        length, question = len(hashed.hashes), int(self._entries(hashed)[0])
        if length < MIN_WORDS:
            return "whole" if length else "nowhere"
        if length < SHORT_WORDS:
            return "sentence" if question < 0 or question in self._short_questions else "whole"
        return "anywhere" if question < 0 or self._postings.of_grams[question] > 0 else "whole"

    def find(self, texts: pa.Array | pa.ChunkedArray) -> list[tuple[int, Match]]:
        """For each text that holds a question: its position, and the question that it holds most of."""
        found = []
        for begin in range(0, len(texts) if self._names else 0, _TEXTS_AT_ONCE):
            chunk = texts.slice(begin, _TEXTS_AT_ONCE).cast(pa.large_string()).fill_null("")
            chunk = chunk.combine_chunks() if isinstance(chunk, pa.ChunkedArray) else chunk
            for place, match in self._matches(chunk):
                found.append((begin + place, match))
        return found

    def _matches(self, texts: pa.Array) -> Iterator[tuple[int, Match]]:
        hashed = word_hashes(texts)
        candidates: dict[int, list[int]] = {}
        enough = self._least - _ROUNDING, self._edited - _ROUNDING
        near = contained(*hashed, self._grams, self._postings, (SHORT_WORDS, NGRAM), *enough)
        for pairs in (_pairs(self._entries(hashed)), near, _pairs(self._sentences(texts, hashed))):
            for place, question in zip(*(each.tolist() for each in pairs), strict=True):
                candidates.setdefault(place, []).append(question)
        for place, questions in sorted(candidates.items()):
            match = self._best(sorted(set(questions)), words(texts[place].as_py()))
            if match is not None:
                yield place, match

    def _best(self, questions: Sequence[int], found: Sequence[str]) -> Match | None:
        """The first of the questions that a text's words hold most of."""
        best = None
        for question in questions:
            match = self._match(question, found)
            if match is not None and (best is None or match.containment > best.containment):
                best = match
                if match.containment >= 1:
                    break
        return best

    def _entries(self, hashed: WordHashes) -> Numbers:
        """The question that each text is, word for word; a text without words is none."""
        numbers = numbers_of(whole_keys(*hashed, 0)[0], self._whole)
        return np.where(np.diff(hashed.offsets) > 0, numbers, -1).astype(np.int32)

    def _sentences(self, texts: pa.Array, hashed: WordHashes) -> Numbers:
        """The short question that is a sentence of each text; only the few texts that hold its words are parted."""
        found = np.full(len(texts), -1, dtype=np.int32)
        bounds = (MIN_WORDS, SHORT_WORDS - 1)
        chosen = np.flatnonzero(holding_short(*hashed, self._short, *bounds))
        if len(chosen):
            parted = pc.split_pattern_regex(texts.take(pa.array(chosen)), _SENTENCE_MARKS)
            edges = parted.offsets.to_numpy().astype(np.int64)
            short = sentence_entries(*word_hashes(parted.flatten()), edges - edges[0], self._short, *bounds)
            found[chosen] = np.where(short >= 0, self._short_questions[short], -1)
        return found

    def _match(self, question: int, found: Sequence[str]) -> Match | None:
        """What a text's words hold of a question, by comparing words; none where only the hashes were equal."""
        asked = words(self._texts[question])
        if list(found) == asked:
            return Match(self._names[question], 1.0, _shown(found))
        first, end = self._postings.firsts[question : question + 2]
        if first == end:
            held = any(asked == list(gram) for gram in _grams(found, len(asked)))
            return Match(self._names[question], 1.0, _shown(asked)) if held else None
        if not _same_numbers(asked, found):
            return None
        shared = _shared(asked, found, self._postings.weight_of[first:end].tolist())
        held = shared.grams >= self._least or (len(asked) >= LONG_WORDS and shared.worth >= self._edited)
        enough = shared.words >= self._share or (self._share < 1 and shared.longest >= LONG_RUN)
        return Match(self._names[question], shared.words, _shown(shared.run)) if held and enough else None


def _pairs(questions: Numbers) -> tuple[Numbers, Numbers]:
    places = np.flatnonzero(questions >= 0)
    return places.astype(np.int32), questions[places]


def _distinct(questions: Sequence[tuple[str, str]]) -> tuple[list[str], list[str], npt.NDArray[np.bool_]]:
    """Names and texts of the questions that have words, each once, and which of them only open another one."""
    by_name: dict[str, set[str]] = {}
    for name, text in questions:
        by_name.setdefault(name, set()).add(text)
    opening = [any(each != text and each.startswith(text) for each in by_name[name]) for name, text in questions]
    hashed = word_hashes(column([text for _, text in questions]))
    _, firsts, numbers = np.unique(whole_keys(*hashed, 0)[0], return_index=True, return_inverse=True)
    alone = np.ones(len(firsts), dtype=np.bool_)
    np.logical_and.at(alone, numbers, np.array(opening, dtype=np.bool_))
    chosen = [index for index in np.sort(firsts).tolist() if hashed.offsets[index + 1] > hashed.offsets[index]]
    return [questions[index][0] for index in chosen], [questions[index][1] for index in chosen], alone[numbers[chosen]]


def _postings(hashed: WordHashes, sizes: Numbers) -> tuple[Table, Postings]:
    keys, beginnings, firsts = gram_keys(*hashed, sizes, SHORT_WORDS)
    table, numbers = table_of(keys, beginnings)
    starts, places = grouped(numbers, len(table.keys))
    asking = holders(*hashed, table, SHORT_WORDS, NGRAM)
    weights = np.where(asking <= BOILERPLATE_QUESTIONS, 1 / np.maximum(asking, 1), 0.0)[numbers]
    question_of = np.repeat(np.arange(len(sizes), dtype=np.int32), np.diff(firsts))
    postings = Postings(starts, places, question_of, weights, firsts, sizes, *totals(weights, firsts, sizes))
    return table, postings


def _same_numbers(asked: Sequence[str], found: Sequence[str]) -> bool:
    numbers = [word for word in asked if any(character.isdigit() for character in word)]
    held = len(set(numbers) & set(found))
    return len(numbers) < NUMBERS * len(asked) or 2 * held >= len(set(numbers))


class _Shared(NamedTuple):
    """What a text holds of a question."""

    grams: float
    """Share of its n-grams, by their weights."""
    worth: float
    """Share of its words, by the weights of the n-grams that they lie in."""
    words: float
    """Share of its words, each counting alike."""
    longest: int
    """Words of the longest run shared."""
    run: Sequence[str]
    """The longest run shared that is no boilerplate."""


def _shared(asked: Sequence[str], found: Sequence[str], weights: Sequence[float]) -> _Shared:
    size = len(asked) - len(weights) + 1
    grams = _grams(asked, size)
    shared = set(grams) & set(_grams(found, size))
    held = [weight if gram in shared else 0.0 for gram, weight in zip(grams, weights, strict=True)]
    telling = {gram for gram, weight in zip(grams, held, strict=True) if weight > 0}
    longest, run = _longest_run(found, size, shared), _longest_run(found, size, telling)
    told = _of_words([float(gram in shared) for gram in grams], size)
    return _Shared(
        grams=sum(held) / sum(weights),
        worth=sum(_of_words(held, size)) / sum(_of_words(weights, size)),
        words=sum(told) / len(told),
        longest=len(longest),
        run=found[run.start : run.stop],
    )


def _longest_run(found: Sequence[str], size: int, of: Collection[tuple[str, ...]]) -> range:
    run, longest = 0, range(0)
    for start, gram in enumerate(_grams(found, size)):
        run = run + 1 if gram in of else 0
        if run and run + size - 1 > len(longest):
            longest = range(start - run + 1, start + size)
    return longest


def _of_words(weights: Sequence[float], size: int) -> list[float]:
    """What each word is worth: as much as the best of the n-grams that it lies in."""
    edged = [0.0] * (size - 1) + list(weights) + [0.0] * (size - 1)
    return [max(edged[word : word + size]) for word in range(len(weights) + size - 1)]


def _grams(found: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(found[start : start + size]) for start in range(len(found) - size + 1)]


def _shown(span: Sequence[str]) -> str:
    return " ".join(span[:_SPAN_WORDS])
