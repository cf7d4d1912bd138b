"""What texts have in common, so that a model reads it once.

The choices of one question form a tree: what all of them begin with is its trunk. Questions whose trees begin with the
same tokens, as the few-shot examples of a benchmark do, form a group: that prefix is read once for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from tasks.trainer.prompts import Continuation

LEAST_SHARED = 64
"""Tokens that questions must share for a prefix of their own to be worth its forward pass."""


@dataclass(frozen=True)
class Wanted:
    """The predictions that make up one sequence of a tree: from which nodes, and of which tokens."""

    nodes: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Tree:
    """The input tokens of sequences, parents before children; the first `trunk` nodes are a chain."""

    ids: np.ndarray
    parents: np.ndarray
    """The node before each; −1 where a sequence begins."""
    trunk: int
    wanted: tuple[Wanted, ...]
    """One for each sequence."""

    @property
    def shareable(self) -> np.ndarray:
        """The tokens in front of the first node from which something is predicted."""
        first = min(int(each.nodes[0]) for each in self.wanted)
        return self.ids[: min(self.trunk, first)]

    @cached_property
    def depths(self) -> np.ndarray:
        """The position of each node in its sequence."""
        depths = np.arange(len(self.ids), dtype=np.int32)
        for node in range(self.trunk, len(self.ids)):
            parent = self.parents[node]
            depths[node] = 0 if parent < 0 else depths[parent] + 1
        return depths

    def visible(self, prefix: int) -> np.ndarray:
        """Which nodes behind the first `prefix` each of them sees: itself and its ancestors; bool (nodes, nodes)."""
        size, chain = len(self.ids) - prefix, self.trunk - prefix
        seen = np.eye(size, dtype=np.bool_)
        seen[:chain, :chain] = np.tri(chain, dtype=np.bool_)
        for node in range(chain, size):
            parent = self.parents[node + prefix] - prefix
            if parent >= 0:
                seen[node] |= seen[parent]
        return seen

    def sequence(self, number: int) -> Continuation:
        """One of the sequences by itself."""
        wanted = self.wanted[number]
        path, node = [int(wanted.targets[-1])], int(wanted.nodes[-1])
        while node >= 0:
            path.append(int(self.ids[node]))
            node = int(self.parents[node])
        return Continuation(np.array(path[::-1], np.int32), len(path) - len(wanted.targets))


@dataclass(frozen=True)
class Group:
    """Trees, by number, that begin with the same tokens."""

    members: list[int]
    prefix: np.ndarray
    """Empty where they share too little."""


def tree_of(sequences: Sequence[Continuation]) -> Tree:
    """The tree of sequences; the last token of each is predicted only, so it is no node."""
    inputs = [each.ids[:-1] for each in sequences]
    trunk = min((shared(inputs[0], each) for each in inputs[1:]), default=len(inputs[0]))
    ids, parents = inputs[0][:trunk].tolist(), list(range(-1, trunk - 1))
    known: dict[tuple[int, int], int] = {}
    wanted = []
    for sequence, tokens in zip(sequences, inputs, strict=True):
        branch, at = [], trunk - 1
        for token in tokens[trunk:].tolist():
            node = known.setdefault((at, token), len(ids))
            if node == len(ids):
                ids.append(token)
                parents.append(at)
            branch.append(node)
            at = node
        first = sequence.start - 1
        inner = np.arange(min(first, trunk), trunk), np.array(branch[max(0, first - trunk) :], np.int64)
        # Copies, which do not keep the whole texts of all questions in memory.
        wanted.append(Wanted(np.concatenate(inner), sequence.ids[sequence.start :].copy()))
    return Tree(np.array(ids, np.int32), np.array(parents, np.int32), trunk, tuple(wanted))


def shared(left: np.ndarray, right: np.ndarray) -> int:
    """With how many equal tokens two sequences begin."""
    size = min(len(left), len(right))
    different = np.flatnonzero(left[:size] != right[:size])
    return int(different[0]) if len(different) else size


def groups(trees: Sequence[Tree]) -> Iterator[Group]:
    """All trees in groups that leave the fewest tokens to read; those that share too little come last, together."""
    contexts = [tree.shareable for tree in trees]
    order = sorted(range(len(trees)), key=lambda number: contexts[number].astype(">i4").tobytes())
    common = [shared(contexts[left], contexts[right]) for left, right in pairwise(order)]
    alone: list[int] = []
    for begin, end in _cut(common, 0, len(order))[1]:
        members = order[begin:end]
        if len(members) > 1:
            yield Group(members, contexts[members[0]][: min(common[begin : end - 1])])
        else:
            alone += members
    if alone:
        yield Group(sorted(alone), np.empty(0, np.int32))


def _cut(common: Sequence[int], begin: int, end: int) -> tuple[int, list[tuple[int, int]]]:
    """How many tokens need not be read again, and the groups for it, of neighbours that share so many tokens."""
    if end - begin <= 1:
        return 0, [(begin, end)] * (end - begin)
    prefix = min(common[begin : end - 1])
    # Parts must gain something over the whole, which also keeps this from going deep.
    borders = [place + 1 for place in range(begin, end - 1) if common[place] < prefix + LEAST_SHARED]
    apart = [_cut(common, *part) for part in zip([begin, *borders], [*borders, end], strict=True)] if borders else []
    saved_apart = sum(saved for saved, _ in apart)
    saved_whole = prefix * (end - begin - 1) if prefix >= LEAST_SHARED else 0
    if saved_whole > saved_apart or not borders:
        return saved_whole, [(begin, end)]
    return saved_apart, [group for _, part in apart for group in part]
