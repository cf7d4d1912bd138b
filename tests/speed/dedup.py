"""Near duplicates of instruction rows, per CPU-second, against MinHash peers on the same texts.

Peers get the n-grams that their users make: words by a regular expression, joined five at a time.
"""

import gc
import os
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.algorithms.shingles import ShingleSets
from tasks.algorithms.similarity_join import NONE, Ranking, near_copies
from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import Corpus, corpus

ROWS = int(os.environ.get("FETTLE_BENCH_ROWS", "500000"))
SIMILARITY, NGRAM = 0.8, 5
PERMUTATIONS, SEED = 128, 42
LEAST_RECALL = 0.99
_ROWS_AT_A_TIME = 10_000
_WORD = re.compile(r"\w+")


class Ours(NamedTuple):
    """What our join did, in CPU-seconds of all threads."""

    seconds: float
    dropped: frozenset[int]
    recall: float


@cache
def _texts() -> Corpus:
    return corpus(ROWS)


def _grams(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [" ".join(words[place : place + NGRAM]) for place in range(len(words) - NGRAM + 1)]


def _alike(left: str, right: str) -> float:
    one, other = set(_grams(left)), set(_grams(right))
    return len(one & other) / max(1, len(one | other))


def _seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    gc.collect()
    began = time.process_time()
    made = work()
    return time.process_time() - began, made


def _join(texts: pa.Array) -> Any:
    sets = ShingleSets(NGRAM)
    sets.add(texts)
    rows = len(texts)
    plain = Ranking(np.arange(rows), np.full(rows, NONE), np.zeros(rows, dtype=np.bool_))
    return near_copies(sets, SIMILARITY, plain)


@cache
def _ours() -> Ours:
    """Our side, each drop checked on the texts themselves, and every known copy looked for."""
    made = _texts()
    texts = pa.array(made.texts)
    _join(texts.slice(0, 1000))  # compiles
    seconds, copies = _seconds(lambda: _join(texts))
    dropped = frozenset(np.flatnonzero(copies.of >= 0).tolist())
    wrong = [row for row in dropped if _alike(made.texts[row], made.texts[copies.of[row]]) < SIMILARITY]
    require(not wrong, f"{len(wrong):,} rows were dropped for a row that is not as alike")
    known = _known_copies()
    recall = len(known & dropped) / len(known)
    require(recall >= LEAST_RECALL, f"of the known copies only {recall:.4f} were found")
    return Ours(seconds, dropped, recall)


@cache
def _known_copies() -> frozenset[int]:
    """Edited rows that are still as alike as the threshold to the row they were made of."""
    made = _texts()
    edited = ((row, original) for row, original in enumerate(made.original) if original >= 0)
    return frozenset(row for row, of in edited if _alike(made.texts[row], made.texts[of]) >= SIMILARITY)


def _batches() -> Iterator[list[list[str]]]:
    texts = _texts().texts
    for begin in range(0, len(texts), _ROWS_AT_A_TIME):
        yield [_grams(text) for text in texts[begin : begin + _ROWS_AT_A_TIME]]


def _measured(peer_name: str, work: Callable[[], frozenset[int]]) -> Measurement:
    ours = _ours()
    seconds, dropped = _seconds(work)
    known = _known_copies()
    found = len(known & dropped) / len(known)
    require(found > 0.5, f"{peer_name} found {found:.3f} of the known copies; it did not do this work")
    return Measurement(
        ours=ROWS / ours.seconds,
        peer=ROWS / seconds,
        peer_name=peer_name,
        unit="rows/CPU-s",
        checked=f"of {len(known):,} known copies among {ROWS:,} rows ours found {ours.recall:.4f} and the peer "
        f"{found:.4f}; all {len(ours.dropped):,} drops of ours have a kept row with J ≥ {SIMILARITY} as sets of words",
        more_is_better=True,
    )


@figure("dedup.vs_datasketch")
def vs_datasketch(scratch: Path) -> Measurement:
    """Against MinHashLSH: a row that finds one before it is a copy; 32-bit xxhash, sketches made in bulk."""
    import xxhash
    from datasketch import MinHash, MinHashLSH

    def work() -> frozenset[int]:
        index, dropped, row = MinHashLSH(threshold=SIMILARITY, num_perm=PERMUTATIONS), set[int](), 0
        for batch in _batches():
            encoded = [[gram.encode() for gram in grams] for grams in batch]
            for sketch in MinHash.bulk(encoded, num_perm=PERMUTATIONS, seed=SEED, hashfunc=xxhash.xxh32_intdigest):
                if index.query(sketch):
                    dropped.add(row)
                else:
                    index.insert(row, sketch)
                row += 1
        return frozenset(dropped)

    return _measured("datasketch MinHashLSH", work)


@figure("dedup.vs_rensa")
def vs_rensa(scratch: Path) -> Measurement:
    """Against its deduplicator with R-MinHash of all n-grams, which checks candidates by their sketches."""
    from rensa import RMinHash, RMinHashDeduplicator

    def work() -> frozenset[int]:
        index, stays = RMinHashDeduplicator(SIMILARITY, PERMUTATIONS, True), list[bool]()
        for batch in _batches():
            sketches = RMinHash.from_token_sets(batch, PERMUTATIONS, SEED)
            stays += index.add_pairs([(str(len(stays) + place), each) for place, each in enumerate(sketches)])
        return frozenset(row for row, stay in enumerate(stays) if not stay)

    return _measured("rensa R-MinHash, sketches checked", work)
