"""What the rows of a source are like, counted while they go by: some bytes a row are kept, and texts of a sample."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.leftovers import LEFTOVERS_PATTERN
from tasks.algorithms.turns import Mask, Turns
from tasks.algorithms.word_hashes import Hashes, word_hashes

MOST_FIELDS = 1000
"""Field names that are watched; a file whose rows are keyed by an id has millions."""
MOST_LABELS, LABEL_CHARACTERS, MIN_ROWS_PER_LABEL = 200, 60, 5
"""Answers are labels where there are at most so many different ones, this short, each of so many rows on average."""
SAMPLE_ROWS, SAMPLE_CHARACTERS = 500, 300
"""Different rows whose language is told, and how much is read of each one's prompt and answer."""

_FACTOR: Final = 0x9E3779B97F4A7C15
_ABOVE_ALL_IDS: Final = "g"
"""Ids are hexadecimal."""

Lengths = npt.NDArray[np.int32]


class FieldCounts:
    """In how many rows each field says something. None, "", [] and {} say nothing; 0 and false do."""

    def __init__(self) -> None:
        self.rows = 0
        self._filled: Counter[str] = Counter()

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in a row as its file holds it, also one that is rejected later."""
        self.rows += 1
        filled = self._filled
        for name, value in row.items():
            if value or value == 0:
                filled[name] += 1
        while len(filled) > MOST_FIELDS:
            filled.popitem()

    def missing(self) -> list[tuple[str, float]]:
        """Share of rows that lack a field which others have, by its name, the most missed first."""
        lacking = {name: 1 - count / self.rows for name, count in self._filled.items() if count < self.rows}
        return sorted(lacking.items(), key=lambda each: (-each[1], str(each[0])))


@dataclass
class SourceAudit:
    """The running figures of one source."""

    source: str
    role: str
    files: int
    rejected: int = 0
    rows: int = 0
    """Conversations: the rows that were not rejected."""
    heldout: int = 0
    turns: int = 0
    """Turns of users."""
    several_turns: int = 0
    with_system: int = 0
    with_tools: int = 0
    refusals: int = 0
    template_leftovers: int = 0
    """Conversations whose text holds markers of a chat template."""
    empty_answers: int = 0
    """Conversations in which the assistant neither says anything nor calls a tool."""
    fields: FieldCounts = field(default_factory=FieldCounts)
    _labels: Counter[str] | None = field(default_factory=Counter)
    _sample: dict[str, str] = field(default_factory=dict)
    _lowest_undrawn: str = _ABOVE_ALL_IDS
    _prompts: list[Lengths] = field(default_factory=list)
    _answers: list[Lengths] = field(default_factory=list)
    _hashes: list[Hashes] = field(default_factory=list)

    @property
    def read(self) -> int:
        """All rows."""
        return self.rows + self.rejected

    @property
    def prompt_characters(self) -> Lengths:
        """The length of each conversation's first prompt."""
        return np.concatenate([np.empty(0, np.int32), *self._prompts])

    @property
    def answer_characters(self) -> Lengths:
        """The length of each conversation's answers together."""
        return np.concatenate([np.empty(0, np.int32), *self._answers])

    @property
    def hashes(self) -> Hashes:
        """A hash of the words of each conversation that has any."""
        return np.concatenate([np.empty(0, np.uint64), *self._hashes])

    @property
    def sample(self) -> list[str]:
        """The beginnings of at most 500 different conversations, those with the lowest ids."""
        return [self._sample[id_] for id_ in sorted(self._sample)[:SAMPLE_ROWS]]

    @property
    def labels(self) -> dict[str, int] | None:
        """Rows of each label, the commonest first; none where the answers are no labels."""
        labels = self._labels
        if labels is None or len(labels) < 2 or self.rows < MIN_ROWS_PER_LABEL * len(labels):
            return None
        return dict(sorted(labels.items(), key=lambda each: (-each[1], each[0])))

    def add(self, table: pa.Table, refusals: int) -> None:
        """Take in conversations, as `CONVERSATIONS` holds them, and how many of them decline."""
        turns = Turns.of(table["messages"])
        user, assistant = turns.role == "user", turns.role == "assistant"
        self.rows += turns.rows
        self.heldout += pc.equal(table["split"], "heldout").to_pylist().count(True)
        self.refusals += refusals
        asked = turns.count(user)
        self.turns += int(asked.sum())
        self.several_turns += _number(asked > 1)
        self.with_system += _number(turns.count(turns.role == "system") > 0)
        tools = table["tools"].is_valid().to_numpy()
        self.with_tools += _number((turns.count(turns.calls | (turns.role == "tool")) > 0) | tools)
        spoilt = pc.match_substring_regex(turns.content, LEFTOVERS_PATTERN).to_numpy(zero_copy_only=False)
        self.template_leftovers += _number(turns.count(spoilt & (user | assistant)) > 0)
        self.empty_answers += _number(turns.count(assistant & (_says_something(turns) | turns.calls)) == 0)
        self._hashes.append(_row_hashes(turns, user | assistant))
        prompts, answers = turns.first(user), turns.first(assistant)
        self._prompts.append(pc.utf8_length(prompts).to_numpy().astype(np.int32))
        self._answers.append(turns.characters(assistant).astype(np.int32))
        self._count_labels(answers)
        self._draw(table["id"].combine_chunks(), prompts, answers)

    def _count_labels(self, answers: pa.Array) -> None:
        if self._labels is None or not len(answers):
            return
        if pc.max(pc.utf8_length(answers)).as_py() > LABEL_CHARACTERS:
            self._labels = None
            return
        for each in pc.value_counts(answers).to_pylist():
            self._labels[each["values"]] += each["counts"]
        if len(self._labels) > MOST_LABELS:
            self._labels = None

    def _draw(self, ids: pa.Array, prompts: pa.Array, answers: pa.Array) -> None:
        """Keep the conversations with the lowest ids: a draw that does not depend on the order of the rows."""
        low = pc.less(ids, self._lowest_undrawn)
        starts = [pc.utf8_slice_codeunits(texts.filter(low), 0, SAMPLE_CHARACTERS) for texts in (prompts, answers)]
        for id_, prompt, answer in zip(
            ids.filter(low).to_pylist(), *(each.to_pylist() for each in starts), strict=True
        ):
            self._sample[id_] = f"{prompt}\n{answer}"
        if len(self._sample) > SAMPLE_ROWS:
            lowest = sorted(self._sample)
            self._lowest_undrawn = lowest[SAMPLE_ROWS]
            self._sample = {id_: self._sample[id_] for id_ in lowest[:SAMPLE_ROWS]}


def duplicates(audits: Sequence[SourceAudit]) -> list[tuple[int, int]]:
    """For each source, rows with the words of an earlier row, and those of them whose earlier row is of another source.

    Sources and rows come in the order in which they were read.
    """
    hashes = np.concatenate([np.empty(0, np.uint64), *(audit.hashes for audit in audits)])
    sources = np.repeat(np.arange(len(audits)), [len(audit.hashes) for audit in audits])
    order = np.argsort(hashes, kind="stable")
    if not len(order):
        return [(0, 0)] * len(audits)
    ordered = hashes[order]
    again = np.append(False, ordered[1:] == ordered[:-1])
    # Which place in the order holds the first row of each group of equal ones.
    firsts = np.maximum.accumulate(np.where(again, 0, np.arange(len(order))))
    later = sources[order][again]
    elsewhere = later[later != sources[order][firsts][again]]
    counts, foreign = (np.bincount(each, minlength=len(audits)) for each in (later, elsewhere))
    return [(int(count), int(other)) for count, other in zip(counts, foreign, strict=True)]


def _number(rows: Mask) -> int:
    return int(np.count_nonzero(rows))


def _says_something(turns: Turns) -> Mask:
    found: Mask = pc.greater(pc.utf8_length(pc.utf8_trim_whitespace(turns.content)), 0).to_numpy(zero_copy_only=False)
    return found


def _row_hashes(turns: Turns, chosen: Mask) -> Hashes:
    """A hash of the words of each row's chosen turns in order; rows without words have none."""
    words = word_hashes(turns.content.filter(pa.array(chosen)))
    starts = words.offsets[np.searchsorted(turns.row[chosen], np.arange(turns.rows + 1))]
    counts = np.diff(starts)
    if not len(words.hashes):
        return np.empty(0, np.uint64)
    powers = np.cumprod(np.full(int(counts.max()), _FACTOR, np.uint64))
    places = np.arange(len(words.hashes)) - np.repeat(starts[:-1], counts)
    hashes: Hashes = np.add.reduceat(words.hashes * powers[places], starts[:-1][counts > 0])
    return hashes
