"""The mask proof: what will be trained, read back from the token ids and compared with what the assistant said.

It shares no step with rendering, tokenising and labelling, so that a fault of theirs cannot hide in it. A text is
proven when its tokens cover and spell it, exactly the tokens that share a byte with a trained range are trained, each
range holds its turn's reasoning, answer and calls, little else, and something that ends the turn, and each turn that
is to be trained is so in one text of its conversation and no other.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.chat.answers import Trained
from tasks.algorithms.masks import loops as loops
from tasks.algorithms.masks.reading import Look, look, looks_like_header
from tasks.algorithms.masks.stretches import Written
from tasks.algorithms.masks.vocabulary import Vocabulary
from tasks.algorithms.tokens.arrays import Flags, Ids, Places, Rendered, Tokens
from tasks.algorithms.tokens.files import Spelling
from tasks.algorithms.word_hashes import buffers

_NO_IDS: Ids = np.empty(0, dtype=np.int32)
_NO_SPELLING = Spelling(np.empty(0, dtype=np.uint8), np.zeros(1, dtype=np.int64))


@dataclass(frozen=True)
class Proof:
    """What the proof found in a batch of n texts with k trained ranges."""

    faults: dict[int, str]
    """Texts that are not proven, with the first thing that is wrong."""
    unshown_calls: dict[int, str]
    """Texts whose template leaves out a tool call that is to be trained, with the call's name: an empty answer would
    be learnt."""
    numbers: Places
    """(k) which of its conversation's assistant turns each range belongs to, from 1."""
    first: Places
    """(k) the first token of each range, counted over the batch; -1 for a range without."""
    last: Places
    """(k) the token behind its last."""
    tails: pa.LargeBinaryArray
    """(k) what closes each range: its last token that is not white space, and what follows it."""
    straddling: Flags
    """(k) ranges that begin or end within a token, which is then trained whole."""


def prove(
    messages: pa.ListArray,
    rendered: Rendered,
    tokens: Tokens,
    trained: Flags,
    spelling: Spelling | None,
    choice: Trained,
    opening: Ids = _NO_IDS,
    *,
    vocabulary: Vocabulary | None = None,
) -> Proof:
    """Read a batch back. `messages` are those that were rendered; `opening` are the ids of added tokens, behind which
    a tokenizer may put a space of its own. Without a vocabulary, ids are read back only where they spell."""
    return _Batch(messages, rendered, tokens, trained, choice).proof(spelling, opening, vocabulary)


class _Batch:
    def __init__(
        self, messages: pa.ListArray, rendered: Rendered, tokens: Tokens, trained: Flags, choice: Trained
    ) -> None:
        self.rendered, self.tokens, self.trained, self.choice = rendered, tokens, trained, choice
        self.data, self.bounds = buffers(rendered.texts)
        ranges = rendered.trained
        self.text = np.repeat(np.arange(len(rendered.texts)), np.diff(ranges.offsets))
        """(k) the text of each range."""
        lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy().astype(np.int64)
        self.row_starts = np.concatenate([[0], np.cumsum(lengths)])
        self.turns = messages.flatten()
        self.row = np.repeat(np.arange(len(lengths)), lengths)
        """(m) the conversation of each message."""
        rows = rendered.rows[self.text]
        inside = (rendered.turns >= 0) & (rendered.turns < lengths[rows])
        self.message = np.where(inside, self.row_starts[rows] + rendered.turns, -1)
        """(k) the message of each range; -1 where there is none."""
        self.is_assistant = pc.equal(self.turns.field("role"), "assistant").to_numpy(zero_copy_only=False)
        self.has_calls = self._says("tool_calls")

    def _says(self, field: str) -> Flags:
        column = pc.fill_null(self.turns.field(field), "")
        return np.asarray(pc.greater(pc.binary_length(pc.utf8_trim_whitespace(column)), 0).to_numpy(False))

    def proof(self, spelling: Spelling | None, opening: Ids, vocabulary: Vocabulary | None) -> Proof:
        known = vocabulary or Vocabulary(spelling or _NO_SPELLING, None, _NO_IDS, _NO_IDS)
        written = Written(self.data, self.bounds, self.tokens, self.trained, known)
        read = self._read_tokens(spelling, opening, known)
        first, last = read.first, read.last
        faults = self._token_faults(read, spelling, written, loosely=spelling is None and vocabulary is not None)
        looks = self._read_ranges(faults, opening)
        unshown = dict[int, str]()
        for k, found in looks.items():
            each = int(self.text[k])
            if found.fault:
                faults.setdefault(each, f"{self._turn(k)}: {found.fault}")
            elif found.unshown_call is not None:
                unshown.setdefault(each, found.unshown_call)
        for each, sentence in self._trained_once():
            faults.setdefault(each, sentence)
        ranges = self.rendered.trained
        straddling = first >= 0
        straddling[straddling] = (
            (self.tokens.begins[first] < ranges.begins) | (self.tokens.ends[last - 1] > ranges.ends)
        )[straddling]
        tails = self._tails(last)
        return Proof(dict(sorted(faults.items())), unshown, self._numbers(), first, last, tails, straddling)

    def _read_tokens(self, spelling: Spelling | None, opening: Ids, known: Vocabulary) -> loops.Read:
        ranges, tokens = self.rendered.trained, self.tokens
        n, k = len(self.rendered.texts), len(ranges.begins)
        opens = np.zeros(max(opening.tolist(), default=-1) + 1, dtype=np.bool_)
        opens[opening] = True
        takes = np.zeros(max([*known.before.tolist(), *known.behind.tolist()], default=-1) + 1, dtype=np.uint8)
        takes[known.before] |= loops.BEFORE
        takes[known.behind] |= loops.BEHIND
        places = np.full(n, -1, np.int64), np.full(k, -1, np.int64), np.full(k, -1, np.int64)
        read = loops.Read(np.zeros(n, np.uint8), *places)
        loops.read_tokens(
            self.data,
            self.bounds,
            loops.TokenColumns(tokens.offsets, tokens.ids, tokens.begins, tokens.ends, self.trained),
            loops.RangeColumns(ranges.offsets, ranges.begins, ranges.ends),
            loops.Spelled(*(spelling or _NO_SPELLING), opens, takes),
            read,
        )
        return read

    def _token_faults(
        self, read: loops.Read, spelling: Spelling | None, written: Written, *, loosely: bool
    ) -> dict[int, str]:
        """What is wrong with the tokens of texts; `loosely`: ids do not spell texts, but are to say the same."""
        faults = dict[int, str]()
        for each in np.flatnonzero(read.fault).tolist():
            if loosely and read.fault[each] == loops.DROPPED:
                continue
            if sentence := self._token_fault(each, read, spelling, written):
                faults[each] = sentence
        for each, place in written.unknown():
            if each not in faults and (piece := self._unknown_piece(each, place)):
                faults[each] = (
                    f"the tokenizer has no token for {piece!r:.80}, it would be trained as {written.unknown_word}"
                )
        for each in np.flatnonzero(written.odd()).tolist() if loosely else ():
            if each not in faults and (sentence := written.fault(each, "folded")):
                faults[each] = sentence
        return faults

    def _unknown_piece(self, each: int, place: int) -> str:
        """What an unknown token stands for; nothing where that is white space that closes a turn."""
        ranges, begin = self.rendered.trained, self.tokens.begins[place]
        span = slice(*ranges.offsets[each : each + 2])
        ends = ranges.ends[span][ranges.ends[span] > begin]
        closes = len(ends) > 0 and not self._piece(each, begin, ends[0]).strip()
        return "" if closes else self._piece(each, begin, self.tokens.ends[place])

    def _token_fault(self, each: int, read: loops.Read, spelling: Spelling | None, written: Written) -> str | None:
        """What is wrong with the tokens of a text, with the first bad piece; nothing if it turns out to be sound."""
        kind, place = read.fault[each], int(read.where[each])
        if kind == loops.RANGES:
            span = self.rendered.trained.begins[place], self.rendered.trained.ends[place]
            return f"the range from byte {span[0]} to {span[1]} overlaps another one, is empty or leaves the text"
        number = f"token {place - self.tokens.offsets[each]:,} of {np.diff(self.tokens.offsets)[each]:,}"
        if kind == loops.DROPPED:
            lost = self._lost(each)
            return f"no token stands for {lost!r:.80}" if lost else None
        if kind in (loops.GAP, loops.MISSPELT) and self._spells_composed(each, spelling, written):
            return None
        if kind == loops.GAP:
            return f"no token stands for {self._lost(each)!r:.80}, before {number}"
        piece = self._piece(each, self.tokens.begins[place], self.tokens.ends[place])
        if kind == loops.ORDER:
            return f"{number}, {piece!r:.80}, lies before the one in front of it or outside of the text"
        if kind == loops.MISSPELT:
            spelt = _spelt(spelling, int(self.tokens.ids[place]))
            return (
                f"{number} has the id {self.tokens.ids[place]}, which spells {spelt!r:.80}; the text says {piece!r:.80}"
            )
        if kind == loops.OVERTRAINED:
            return f"{number}, {piece!r:.80}, is trained, but the assistant is not to write it"
        return f"{number}, {piece!r:.80}, is not trained, but the assistant is to write it"

    def _spells_composed(self, each: int, spelling: Spelling | None, written: Written) -> bool:
        """Whether the ids spell the text in composed characters (NFC), which some tokenizers make of it first."""
        text = self._bytes(each).decode(errors="replace")
        if spelling is None or unicodedata.is_normalized("NFC", text):
            return False
        return written.fault(each, "composed") is None

    def _piece(self, each: int, begin: int, end: int) -> str:
        return self._bytes(each)[begin:end].decode(errors="replace")

    def _bytes(self, each: int) -> bytes:
        return bytes(self.data[self.bounds[each] : self.bounds[each + 1]])

    def _lost(self, each: int) -> str:
        """The first stretch of a text that no token stands for, unless tokenizers that normalise may drop it."""
        span = slice(*self.tokens.offsets[each : each + 2])
        text = self._bytes(each)
        begins = np.append(self.tokens.begins[span], len(text))
        reached = np.append(0, np.maximum.accumulate(self.tokens.ends[span]))
        gaps = np.flatnonzero(begins > reached)
        lost = (text[reached[at] : begins[at]].decode(errors="replace") for at in gaps)
        return next((gap for gap in lost if any(unicodedata.category(each)[0] not in "ZCM" for each in gap)), "")

    def _turn(self, k: int) -> str:
        return f"turn {self.rendered.turns[k] + 1}"

    def _read_ranges(self, faults: dict[int, str], added: Ids) -> dict[int, Look]:
        """A closer look at the turns that need one, by their last range."""
        ranges = self.rendered.trained
        base = self.bounds[self.text]
        starts, stops = base + ranges.begins, base + ranges.ends
        alone = np.ones(len(base), dtype=np.bool_)
        same = (self.text[1:] == self.text[:-1]) & (self.message[1:] == self.message[:-1])
        alone[1:][same] = alone[:-1][same] = False
        whole = ~np.isin(self.text, list(faults))
        simple = alone & whole & (self.message >= 0)
        if len(self.message):
            simple &= ~self.has_calls[self.message]
            if not self.choice.reasoning:
                simple &= ~self._says("reasoning")[self.message]
        reasoning = self.turns.field("reasoning")
        opening, closing = np.empty_like(starts), np.empty_like(starts)
        loops.read_ranges(
            self.data,
            starts,
            stops,
            *buffers(self.turns.field("content")),
            *buffers(reasoning if self.choice.reasoning else pa.nulls(len(reasoning), pa.string())),
            self.message,
            simple,
            opening,
            closing,
        )
        opening[self._headed(starts, opening) | self._headed(closing, stops)] = -1
        last_of_turn = np.ones(len(base), dtype=np.bool_)
        last_of_turn[:-1][same] = False
        to_see = np.flatnonzero((opening < 0) & last_of_turn & (self.message >= 0) & whole)
        return {k: self._look(k, added) for k in to_see.tolist()}

    def _headed(self, begins: Places, ends: Places) -> Flags:
        """Where text that looks like a header stands from one place to another, of those that are known."""
        headed = (begins >= 0) & (ends > begins)
        literals = _slices(self.data, begins[headed], ends[headed]).dictionary_encode()
        bad = np.array([looks_like_header(each.as_py()) for each in literals.dictionary], dtype=np.bool_)
        headed[headed] = bad[literals.indices.to_numpy()] if len(bad) else False
        return headed

    def _look(self, k: int, added: Ids) -> Look:
        begin = end = k
        while begin and self.text[begin - 1] == self.text[end] and self.message[begin - 1] == self.message[end]:
            begin -= 1
        ranges = self.rendered.trained
        spans = [(int(ranges.begins[each]), int(ranges.ends[each])) for each in range(begin, end + 1)]
        message = int(self.message[k])
        row = self.row[message]
        turns = self.turns.slice(self.row_starts[row], self.row_starts[row + 1] - self.row_starts[row]).to_pylist()
        said = turns.pop(message - self.row_starts[row])
        controls = sorted({self._piece(self.text[k], *place).strip() for place in self._among(added, begin, end)})
        others = [each["content"] or "" for each in turns]
        return look(self._bytes(self.text[k]), spans, said, others, self.choice, controls)

    def _among(self, added: Ids, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """Where tokens of some ids stand in the ranges of a turn."""
        ranges, tokens = self.rendered.trained, self.tokens
        span = slice(*tokens.offsets[self.text[begin] : self.text[begin] + 2])
        there = np.isin(tokens.ids[span], added)
        for at in np.flatnonzero(there) + span.start:
            if tokens.begins[at] < ranges.ends[end] and tokens.ends[at] > ranges.begins[begin]:
                yield int(tokens.begins[at]), int(tokens.ends[at])

    def _trained_once(self) -> list[tuple[int, str]]:
        """Texts that train a turn that they should not, or twice, or whose conversation has one that none trains."""
        wanted, optional = self._wanted()
        there = self.message >= 0
        nowhere = np.flatnonzero(~there).tolist()
        found = [(int(self.text[k]), f"{self._turn(k)} is trained, but there is none") for k in nowhere]
        pairs = np.unique(np.stack([self.message[there], self.text[there]]), axis=1)
        times = np.bincount(pairs[0], minlength=len(wanted))
        for message, text in pairs.T[(~wanted & ~optional)[pairs[0]]]:
            found.append((int(text), f"{self._of(message)} is trained, but should not be"))
        for message, text in pairs.T[(times > 1)[pairs[0]]]:
            found.append((int(text), f"{self._of(message)} is trained {times[message]} times"))
        rendered = np.zeros(len(self.row_starts) - 1, dtype=np.bool_)
        rendered[self.rendered.rows] = True
        for message in np.flatnonzero(wanted & ~optional & (times == 0) & rendered[self.row]).tolist():
            text = int(np.searchsorted(self.rendered.rows, self.row[message]))
            found.append((text, f"{self._of(message)} is not trained, but should be"))
        return found

    def _of(self, message: int) -> str:
        turn = self.turns[int(message)]
        place = message - self.row_starts[self.row[message]] + 1
        return f"turn {place} ({turn['role'].as_py()}: {turn['content'].as_py() or ''!r:.60})"

    def _wanted(self) -> tuple[Flags, Flags]:
        """The messages that are to be trained, and those that may or may not be."""
        weight = pc.fill_null(self.turns.field("weight"), 1.0).to_numpy(zero_copy_only=False)
        wanted = self.is_assistant & (weight != 0)
        if self.choice.turns == "last":
            last = np.full(len(self.row_starts) - 1, -1, dtype=np.int64)
            np.maximum.at(last, self.row[wanted], np.flatnonzero(wanted))
            wanted = np.zeros_like(wanted)
            wanted[last[last >= 0]] = True
        return wanted, wanted & self.has_calls & (not self.choice.tool_calls)

    def _numbers(self) -> Places:
        spoken = np.cumsum(self.is_assistant)
        before = np.concatenate([[0], spoken])[self.row_starts[self.row]]
        numbers = np.append(spoken - before, 0)
        return np.asarray(numbers[self.message], dtype=np.int64)

    def _tails(self, last: Places) -> pa.LargeBinaryArray:
        base = self.bounds[self.text]
        ends = base + self.rendered.trained.ends
        begins = ends.copy()
        loops.read_tails(self.data, base, ends, self.tokens.begins, self.tokens.offsets[self.text], last, begins)
        return _slices(self.data, begins, ends)


def _slices(data: loops.Bytes, begins: Places, ends: Places) -> pa.LargeBinaryArray:
    lengths = ends - begins
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    places = np.repeat(begins - offsets[:-1], lengths) + np.arange(offsets[-1])
    buffer = pa.py_buffer(data[places].tobytes())
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(begins), [None, pa.py_buffer(offsets), buffer])


def _bounds(ids: Ids, spelling: Spelling) -> list[tuple[int, int]]:
    known = ids[(ids >= 0) & (ids < len(spelling.offsets) - 1)]
    return list(zip(spelling.offsets[known].tolist(), spelling.offsets[known + 1].tolist(), strict=True))


def _spelt(spelling: Spelling | None, token: int) -> str:
    if spelling is None:
        return ""
    found = _bounds(np.array([token], dtype=np.int32), spelling)
    return b"".join(spelling.data[begin:end].tobytes() for begin, end in found).decode(errors="replace")
