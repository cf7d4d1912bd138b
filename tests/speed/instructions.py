"""Instruction rows of any number, a known share of them edited copies of others: the same rows on every machine."""

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

EDITED_SHARE = 0.24
_VOCABULARY_WORDS = 60_000
_OPENINGS, _CLOSINGS = 300, 60
_ROWS_AT_A_TIME = 10_000
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprst" for vowel in "aeo"]


class Corpus(NamedTuple):
    """Texts, and of which earlier text each is an edited copy (-1: of none)."""

    texts: list[str]
    original: list[int]


def corpus(rows: int, seed: int = 11) -> Corpus:
    """Texts of about 75 words, 440 bytes: a formulaic opening, words as rare as those of a language, a closing."""
    random, words = Random(seed), _Words(seed)
    openings, closings = ([words.sentence(random.randint(3, 11)) for _ in range(n)] for n in (_OPENINGS, _CLOSINGS))
    fresh = words.sentences(rows)
    texts: list[str] = []
    original: list[int] = []
    unedited: list[int] = []
    for row in range(rows):
        if row and random.random() < EDITED_SHARE:
            original.append(unedited[int(random.random() * len(unedited))])
            texts.append(" ".join(_edited(random, texts[original[-1]].split(), words)))
        else:
            original.append(-1)
            unedited.append(row)
            texts.append(f"{random.choice(openings)} {next(fresh)} {random.choice(closings)}")
    return Corpus(texts, original)


class _Words:
    """Words of two, three and four syllables, drawn as often as Zipf and Mandelbrot say."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        stems, found = _SYLLABLES, list[str]()
        while len(found) < _VOCABULARY_WORDS:
            stems = [stem + syllable for stem in stems for syllable in _SYLLABLES]
            found += stems
        self.known: npt.NDArray[np.object_] = np.array(found[:_VOCABULARY_WORDS], dtype=object)
        shares = np.cumsum(1 / (np.arange(_VOCABULARY_WORDS) + 2.7))
        self.shares = shares / shares[-1]

    def draw(self, count: int) -> list[str]:
        found: list[str] = self.known[np.searchsorted(self.shares, self.random.random(count), side="right")].tolist()
        return found

    def sentence(self, length: int) -> str:
        return f"{' '.join(self.draw(length)).capitalize()}."

    def sentences(self, count: int) -> Iterator[str]:
        """Sentences of 12 to 400 words, many at once."""
        for _ in range(0, count, _ROWS_AT_A_TIME):
            lengths = np.clip(self.random.lognormal(4.0, 0.45, _ROWS_AT_A_TIME), 12, 400).astype(int).tolist()
            drawn, begin = self.draw(sum(lengths)), 0
            for length in lengths:
                yield f"{' '.join(drawn[begin : begin + length]).capitalize()}."
                begin += length


def _edited(random: Random, words: list[str], vocabulary: _Words) -> list[str]:
    """The words with other capitals, with a few of them replaced, taken out or put in, or with a longer end."""
    kind, edits = random.random(), random.randint(1, 4)
    if kind < 0.15:
        return [word.upper() if random.random() < 0.1 else word for word in words]
    if kind < 0.3:
        return words + [random.choice(vocabulary.known) for _ in range(2 * edits)]
    for _ in range(edits):
        place = int(random.random() * len(words))
        put = [] if kind < 0.45 else [random.choice(vocabulary.known)]
        words[place : place + (0 if kind > 0.85 else 1)] = put
    return words
