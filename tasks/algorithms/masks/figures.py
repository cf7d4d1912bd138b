"""How much of each source is trained, turn by turn, and what closes the turns; batch by batch, with little state."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.masks.proof import Proof
from tasks.algorithms.tokens.arrays import Flags, Places, Rendered, Tokens

MASK_FIGURES = pa.schema(
    [
        ("source", pa.string()),
        ("turn", pa.int32()),
        ("texts", pa.int64()),
        ("turns", pa.int64()),
        ("proven_turns", pa.int64()),
        ("tokens", pa.int64()),
        ("trained_tokens", pa.int64()),
        ("trained_share", pa.float64()),
    ]
)
"""`turn` is the number of the assistant's turn, 4 for the fourth and all that follow, 0 for whole texts; `tokens` of a
turn are those from behind the trained turn before it."""
MASK_ENDS = pa.schema([("end", pa.string()), ("turns", pa.int64())])
"""What is trained behind the answers, and behind how many."""
LAST_NUMBER = 4
"""This turn and those that follow are counted together."""
_MOST_ENDS = 1000
_OTHER_END = "(others)"


class MaskFigures:
    """Counts over all batches that were added."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], npt.NDArray[np.int64]] = {}
        self._ends = Counter[str]()

    def add(self, sources: pa.Array, rendered: Rendered, tokens: Tokens, trained: Flags, proof: Proof) -> None:
        """Take in a batch; `sources` names the source of each text."""
        ranges, n = rendered.trained, len(rendered.texts)
        text = np.repeat(np.arange(n), np.diff(ranges.offsets))
        closing, exchange, learnt = _turns(text, rendered, tokens, trained, proof)
        proven = ~np.isin(text, list(proof.faults))
        number = np.clip(proof.numbers, 1, LAST_NUMBER)
        codes = sources.dictionary_encode()
        source = codes.indices.to_numpy().astype(np.int64)
        key = source[text] * (LAST_NUMBER + 1) + number
        first = np.ones(len(text), dtype=np.bool_)
        first[1:] = (text[1:] != text[:-1]) | (number[1:] != number[:-1])
        sums = np.stack([first, closing, closing & proven, exchange, learnt])
        self._count(codes.dictionary, key, sums)
        totals = np.stack(
            [
                np.ones(n, dtype=np.int64),
                np.bincount(text, closing, minlength=n),
                np.bincount(text, closing & proven, minlength=n),
                np.diff(tokens.offsets),
                np.diff(np.concatenate([[0], np.cumsum(trained)])[tokens.offsets]),
            ]
        )
        self._count(codes.dictionary, source * (LAST_NUMBER + 1), totals)
        self._count_ends(proof.tails.filter(pa.array(closing)))

    def _count(self, names: pa.Array, key: Places, sums: npt.NDArray[Any]) -> None:
        for each in np.unique(key):
            place = names[int(each) // (LAST_NUMBER + 1)].as_py(), int(each) % (LAST_NUMBER + 1)
            counted = sums[:, key == each].sum(axis=1).astype(np.int64)
            self._counts[place] = self._counts.get(place, 0) + counted

    def _count_ends(self, tails: pa.LargeBinaryArray) -> None:
        for entry in tails.value_counts().to_pylist():
            end = entry["values"].decode(errors="replace")
            known = end in self._ends or len(self._ends) < _MOST_ENDS
            self._ends[end if known else _OTHER_END] += entry["counts"]

    def table(self) -> pa.Table:
        """A row a source and turn."""
        rows = []
        for (source, turn), counts in sorted(self._counts.items()):
            figures = dict(zip(MASK_FIGURES.names[2:7], counts.tolist(), strict=True))
            share = figures["trained_tokens"] / max(1, figures["tokens"])
            rows.append({"source": source, "turn": turn, **figures, "trained_share": share})
        return pa.Table.from_pylist(rows, MASK_FIGURES)

    def ends(self) -> pa.Table:
        """What closes the turns, the commonest first."""
        rows = sorted(self._ends.items(), key=lambda entry: (-entry[1], entry[0]))
        return pa.Table.from_pylist([{"end": end, "turns": turns} for end, turns in rows], MASK_ENDS)


def _turns(
    text: Places, rendered: Rendered, tokens: Tokens, trained: Flags, proof: Proof
) -> tuple[Flags, Places, Places]:
    """For each range: whether it is its turn's last, how many tokens lie between the range before it and its own end,
    and how many of them are trained in it."""
    closing = np.ones(len(text), dtype=np.bool_)
    same = text[1:] == text[:-1]
    closing[:-1] = ~same | (rendered.turns[1:] != rendered.turns[:-1])
    begin = tokens.offsets[text]
    # The proof reads a text no further than to its first fault.
    last = np.maximum.accumulate(np.where(proof.first < 0, begin, proof.last))
    begin[1:][same] = last[:-1][same]
    sums = np.concatenate([[0], np.cumsum(trained)])
    return closing, last - begin, np.where(proof.first < 0, 0, sums[last] - sums[np.maximum(proof.first, begin)])
