"""Every near copy among sets, found exactly: prefix filtering (Bayardo, Ma, Srikant, WWW 2007; Xiao et al., WWW 2008).

Two sets as alike as the threshold share at least one of their rarest members, so only rows that do are compared.
What a formulaic source repeats in every row is common, hence hardly ever looked at; nothing is left to chance.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.algorithms.compiled import compiled
from tasks.algorithms.semantic_join import NO_NEIGHBOURS, Meaning, Neighbours, SemanticIndex, first_neighbour
from tasks.algorithms.shingles import BITS, ShingleSets, cleared, holds, insert
from tasks.algorithms.word_hashes import Hashes, Offsets

NONE = -1
_ROWS_PER_STEP = 8192
_COUNTERS_PER_MEMBER, _MOST_COUNTERS = 1.5, (1 << 32) - 1
_EXACT_COUNTS, _STEPS_PER_DOUBLING = 32, 16
"""Counters grow by one up to here, and from here on ever more seldom (Morris, CACM 1978)."""
_ROUNDING = 1e-9
_FORMULAIC = np.uint64(6 << BITS)
"""From this level on (64 rows) the holders of a member are told apart by their sizes."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TAG_BITS = np.uint64(0x7FFFFFFF)
_MOST_STEPS = 16
_MEMBER = np.uint64((1 << BITS) - 1)
_NEXT, _PLACE, _REST, _SIZE, _TAG = range(5)
"""Columns of an entry."""
_NEWEST, _SMALLEST, _LONGEST_REST, _OWNER = range(4)
"""Columns of a head."""

Numbers = npt.NDArray[np.int64]
Table = npt.NDArray[np.int32]
Mask = npt.NDArray[np.bool_]
Counters = npt.NDArray[np.uint8]


class Copies(NamedTuple):
    """What became of each row."""

    of: Numbers
    """The kept row that it copies; -1 for a row that is kept or takes no part."""
    similarity: npt.NDArray[np.float64]
    """Their exact similarity; 1 for rows of one group; -1 where the row is one too many of its family."""
    semantic: Mask
    """Rows that mean the same as the kept one, without sharing enough with it; their similarity is the cosine."""


class Ranking(NamedTuple):
    """Which row stays where rows are alike."""

    order: Numbers
    """Rows as they are settled; a row that is not in it takes no part."""
    groups: Numbers
    """Rows of equal numbers are copies whatever their sets; -1 is no group."""
    protected: Mask
    """Rows that stay even if they are copies …"""
    guarded: int = 0
    """… but of one of the first so many in the order, unless they are among these themselves."""
    families: Numbers = np.empty(0, dtype=np.int64)
    """Of rows of equal numbers only so many are kept, and of the others the first kept is named; -1 is no family."""
    most: int = 0
    """How many; 0 is any number."""


class _Index(NamedTuple):
    """The kept rows by each rare member they hold and their size; places are places in the order."""

    counters: Counters
    levels: Hashes
    """What a counter says of how common its members are: 0 for a member of one row, 15 for the commonest."""
    classes: Table
    """The class of each size; rows of one class are of about the same size."""
    heads: Table
    """For each member and class the newest entry (from 1), the smallest set, the longest rest, and whose head it is."""
    entries: Table
    """The entry before it, place, rest (how many members the row has from this one on: the most it can share with
    another), size, and bits of the member."""
    met: Numbers
    """The last place that each place was compared with."""
    first: Numbers
    """The first kept place of each group."""
    kin: Numbers
    """The first kept place of each family, and how many are kept."""


def near_copies(
    sets: ShingleSets,
    threshold: float,
    ranking: Ranking,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    meaning: Meaning | None = None,
) -> Copies:
    """Each row that is a copy of a kept row before it, with the first such row; an empty set is like no other.

    With meanings, a row that is no copy is one all the same of the first kept row that means the same.

    A dropped row is never looked at again, so that a large group of copies costs about one comparison a row.
    """
    total, sizes = len(ranking.order), np.diff(sets.offsets)
    index = _index(sets, sizes, threshold, ranking)
    _count(sets.hashes, index.counters)
    copies = Copies(np.full(len(sets), NONE, dtype=np.int64), np.zeros(len(sets)), np.zeros(len(sets), dtype=np.bool_))
    semantic = SemanticIndex(meaning, ranking.order) if meaning else None
    used, step = 0, semantic.rows_per_step if semantic else _ROWS_PER_STEP
    for begin in range(0, total, step):
        end = min(begin + step, total)
        here = sizes[ranking.order[begin:end]]
        needed = used + int((here - np.ceil(threshold * here - _ROUNDING) + 1).sum())
        if needed > len(index.entries):
            # In place: this table may be large.
            index.entries.resize((max(needed, len(index.entries) * 5 // 4), 5), refcheck=False)
        near = semantic.neighbours(begin, end) if semantic else NO_NEIGHBOURS
        used = _settle(begin, end, ranking, sets.hashes, sets.offsets, threshold, index, used, near, copies)
        if semantic:
            semantic.keep(begin + np.flatnonzero(copies.of[ranking.order[begin:end]] == NONE))
        progress(end, total)
    return copies


def _index(sets: ShingleSets, sizes: Numbers, threshold: float, ranking: Ranking) -> _Index:
    total = len(ranking.order)
    counters = min(max(1024, int(len(sets.hashes) * _COUNTERS_PER_MEMBER)), _MOST_COUNTERS)
    levels = [min(15, max(0, count.bit_length() - 1)) for count in range(_EXACT_COUNTS)]
    levels += [min(15, 5 + step // _STEPS_PER_DOUBLING) for step in range(256 - _EXACT_COUNTS)]
    return _Index(
        counters=np.zeros(counters, dtype=np.uint8),
        levels=np.array(levels, dtype=np.uint64) << np.uint64(BITS),
        classes=_classes(int(sizes.max(initial=0)), threshold),
        heads=np.zeros((1 << max(4, total.bit_length() + 2), 4), dtype=np.int32),
        entries=np.zeros((1024, 5), dtype=np.int32),
        met=np.full(total, NONE, dtype=np.int64),
        first=np.full(int(ranking.groups.max(initial=NONE)) + 1, NONE, dtype=np.int64),
        kin=np.zeros((int(ranking.families.max(initial=NONE)) + 1, 2), dtype=np.int64),
    )


def _classes(largest: int, threshold: float) -> Table:
    """A number for each size, in order, such that those of one class differ by some percent."""
    edges, ratio = [1], max(1.01, threshold**-0.1)
    while edges[-1] <= largest:
        edges.append(max(edges[-1] + 1, int(edges[-1] * ratio)))
    return np.searchsorted(edges, np.arange(largest + 1), side="right").astype(np.int32)


@compiled
def _count(hashes: Hashes, counters: Counters) -> None:
    """How many sets hold each member, nearly: members may share a counter."""
    for place in range(len(hashes)):
        slot = _counter_of(hashes[place], len(counters))
        count = counters[slot]
        if count >= _EXACT_COUNTS:
            doublings = (np.uint64(count) - np.uint64(_EXACT_COUNTS)) // np.uint64(_STEPS_PER_DOUBLING)
            # Bits of the place stand in for chance: the same in each run, and any would do for the result.
            draw = (np.uint64(place) * _GOLDEN) >> np.uint64(32)
            if count == 255 or draw & ((np.uint64(2) << doublings) - np.uint64(1)):
                continue
        counters[slot] = count + 1


@compiled
def _counter_of(member: np.uint64, counters: int) -> np.int64:
    return np.int64(((member >> np.uint64(BITS - 32)) * np.uint64(counters)) >> np.uint64(32))


@compiled
def _owner_of(member: np.uint64, size_class: int) -> np.uint64:
    """A number, never 0, for the member and class that a head is of."""
    mixed = (member ^ (np.uint64(size_class) * _GOLDEN)) * _GOLDEN
    return mixed ^ (mixed >> np.uint64(32)) | np.uint64(1)


@compiled
def _head_of(owner: np.uint64, heads: Table) -> int:
    """The head of an owner, or the one that it would get. After some steps owners share one, which costs time only."""
    mask = len(heads) - 1
    head = np.int64(owner >> np.uint64(20)) & mask
    own = np.int32(owner & _TAG_BITS)
    for _ in range(_MOST_STEPS):
        if heads[head, _OWNER] == own or heads[head, _OWNER] == 0:
            break
        head = (head + 1) & mask
    return int(head)


@compiled
def _settle(
    begin: int,
    end: int,
    ranking: Ranking,
    hashes: Hashes,
    offsets: Offsets,
    threshold: float,
    index: _Index,
    used: int,
    near: Neighbours,
    copies: Copies,
) -> int:
    """Settle the rows of some places of the order; gives how many entries the index then has."""
    order, guarded = ranking.order, ranking.guarded
    of, similarity = copies.of, copies.similarity
    keys = np.empty(1024, dtype=np.uint64)
    for place in range(begin, end):
        row = order[place]
        group, protected = ranking.groups[row], ranking.protected[row]
        copied, alike, means = NONE, 1.0, False
        if group >= 0:
            copied = int(index.first[group])
        rare, lone = 0, 0
        if copied < 0 or (protected and copied >= guarded):
            members = hashes[offsets[row] : offsets[row + 1]]
            if len(members) > len(keys):
                keys = np.empty(2 * len(members), dtype=np.uint64)
            rare, lone = _rarest(members, threshold, index, keys)
            found, found_alike = _first_alike(
                place, members, keys[:rare], lone, order, hashes, offsets, threshold, index
            )
            if copied < 0 or (found >= 0 and found < guarded):
                copied, alike = found, found_alike
        if copied < 0 or (protected and copied >= guarded):
            found, found_alike = first_neighbour(place, begin, order, of, near)
            if found >= 0 and (copied < 0 or found < guarded):
                copied, alike, means = found, found_alike, True
        if copied >= 0 and (not protected or copied < guarded <= place):
            of[row], similarity[row], copies.semantic[row] = order[copied], alike, means
            continue
        family = ranking.families[row] if ranking.most > 0 else NONE
        if family >= 0:
            if not protected and index.kin[family, 1] >= ranking.most:
                of[row], similarity[row] = order[index.kin[family, 0]], -1.0
                continue
            if not index.kin[family, 1]:
                index.kin[family, 0] = place
            index.kin[family, 1] += 1
        if group >= 0 and index.first[group] < 0:
            index.first[group] = place
        used = _keep(place, offsets[row + 1] - offsets[row], keys[:rare], lone, index, used)
    return used


@compiled
def _rarest(members: Hashes, threshold: float, index: _Index, keys: Hashes) -> tuple[int, int]:
    """The members that any set as alike shares one of, but for those of no other set: how many, and how many of those.

    They are written to `keys`, the rarest first: the level above the hash, an order of all members there are.
    """
    size = len(members)
    prefix = size - math.ceil(threshold * size - _ROUNDING) + 1 if size else 0
    lone, others = 0, 0
    for member in members:
        level = index.levels[index.counters[_counter_of(member, len(index.counters))]]
        if level:
            keys[others] = level | member
            others += 1
        else:
            lone += 1
            if lone >= prefix:
                return 0, lone
    keys[:others].sort()
    return min(prefix - lone, others), lone


@compiled
def _least_shared(size: int, other: int, threshold: float) -> int:
    """The fewest members that two sets of these sizes share, if they are as alike as the threshold."""
    return math.ceil(threshold / (1 + threshold) * (size + other) - _ROUNDING)


@compiled
def _first_alike(
    place: int,
    members: Hashes,
    keys: Hashes,
    lone: int,
    order: Numbers,
    hashes: Hashes,
    offsets: Offsets,
    threshold: float,
    index: _Index,
) -> tuple[int, float]:
    """The first kept place whose set is as alike as the threshold, and how alike it is; -1 if there is none."""
    best, alike, size = NONE, 0.0, len(members)
    least = math.ceil(threshold * size - _ROUNDING)
    most = min(int(size / threshold + _ROUNDING), len(index.classes) - 1)
    slots = np.empty(0, dtype=np.int32)
    for number in range(len(keys)):
        # The number of rarer members that the row has is what it cannot share any more.
        member, rest = keys[number] & _MEMBER, size - lone - number
        tag = np.int32(member & _TAG_BITS)
        classes = (index.classes[least], index.classes[most]) if keys[number] >= _FORMULAIC else (0, 0)
        for size_class in range(classes[0], classes[1] + 1):
            head = _head_of(_owner_of(member, size_class), index.heads)
            entry = index.heads[head, _NEWEST]
            if entry == 0:
                continue
            smallest, longest = max(int(index.heads[head, _SMALLEST]), least), int(index.heads[head, _LONGEST_REST])
            if min(rest, longest) < _least_shared(size, smallest, threshold):
                continue
            while entry > 0:
                here = entry - 1
                entry = index.entries[here, _NEXT]
                at, other_size = int(index.entries[here, _PLACE]), int(index.entries[here, _SIZE])
                if index.entries[here, _TAG] != tag or (best >= 0 and at > best) or index.met[at] == place:
                    continue
                needed = _least_shared(size, other_size, threshold)
                if not least <= other_size <= most or min(rest, int(index.entries[here, _REST])) < needed:
                    continue
                index.met[at] = place
                if not len(slots):
                    slots = _table_of(members)
                row = order[at]
                shared = _shared(slots, members, hashes[offsets[row] : offsets[row + 1]], needed)
                if shared >= needed and shared / (size + other_size - shared) >= threshold:
                    best, alike = at, shared / (size + other_size - shared)
    return best, alike


@compiled
def _table_of(members: Hashes) -> Table:
    slots = cleared(np.empty(0, dtype=np.int32), len(members))
    for place in range(len(members)):
        insert(slots, members, 0, place)
    return slots


@compiled
def _shared(slots: Table, members: Hashes, others: Hashes, needed: int) -> int:
    """How many of the others are members; less than needed as soon as that is sure."""
    may_miss, shared = len(others) - needed, 0
    for other in others:
        if holds(slots, members, other):
            shared += 1
        else:
            may_miss -= 1
            if may_miss < 0:
                return 0
    return shared


@compiled
def _keep(place: int, size: int, keys: Hashes, lone: int, index: _Index, used: int) -> int:
    """Enter a kept row into the index; gives how many entries that then has."""
    for number in range(len(keys)):
        member, rest = keys[number] & _MEMBER, size - lone - number
        size_class = index.classes[size] if keys[number] >= _FORMULAIC else 0
        owner = _owner_of(member, size_class)
        slot = _head_of(owner, index.heads)
        head, entry = index.heads[slot], index.entries[used]
        entry[_NEXT], entry[_PLACE], entry[_REST], entry[_SIZE] = head[_NEWEST], place, rest, size
        entry[_TAG] = np.int32(member & _TAG_BITS)
        used += 1
        if head[_NEWEST] == 0 or size < head[_SMALLEST]:
            head[_SMALLEST] = size
        head[_LONGEST_REST] = max(head[_LONGEST_REST], rest)
        head[_NEWEST] = used
        if head[_OWNER] == 0:  # the first owner stays where several share a head, or its rows would be lost
            head[_OWNER] = np.int32(owner & _TAG_BITS)
    return used
