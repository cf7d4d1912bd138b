"""The tokens that a tokenizer finds in a text before all else, as a table that compiled loops can walk."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer

from tasks.algorithms.tokens.arrays import Flags, Ids

Table = npt.NDArray[np.int32]

_MOST_NODES = 1 << 14
"""A kilobyte each."""
_NONE = -1


class AddedTokens(NamedTuple):
    """Walk `steps` from node 0, a byte a step; 0 leads nowhere. Of the nodes passed the last with a token counts."""

    steps: Table
    """(nodes, 256)"""
    token_at: Table
    """(nodes) which token ends at a node, or −1."""
    ids: Ids
    is_odd: Flags
    """Whether a token takes more than its own characters, or only stands between certain others."""
    plainest: str | None
    """One that is not odd, if there is one."""


def added_tokens(tokenizer: Tokenizer) -> AddedTokens | None:
    """The table of a tokenizer; None where a single walk from left to right would find others than it does."""
    added = {number: token for number, token in tokenizer.get_added_tokens_decoder().items() if token.content}
    normalized = [each.content for each in added.values() if each.normalized]
    others = [each.content for each in added.values() if not each.normalized]
    # The library looks for those of the text as it is first, then for those of the normalised text.
    has_normalizer = tokenizer.normalizer is not None
    if normalized and (has_normalizer or any(_meet(one, other) for one in normalized for other in others)):
        return None
    return _table(added)


def _meet(one: str, other: str) -> bool:
    """Whether two tokens can share characters of a text."""
    if one in other or other in one:
        return True
    return any(
        left.endswith(right[:length])
        for left, right in ((one, other), (other, one))
        for length in range(1, min(len(one), len(other)))
    )


def _table(added: dict[int, AddedToken]) -> AddedTokens | None:
    steps: list[dict[int, int]] = [{}]
    tokens: list[int] = [_NONE]
    for index, token in enumerate(added.values()):
        node = 0
        for byte in token.content.encode():
            if byte not in steps[node]:
                steps[node][byte] = len(steps)
                steps.append({})
                tokens.append(_NONE)
            node = steps[node][byte]
        tokens[node] = index
        if len(steps) > _MOST_NODES:
            return None
    dense = np.zeros((len(steps), 256), dtype=np.int32)
    for node, following in enumerate(steps):
        dense[node, list(following)] = list(following.values())
    return AddedTokens(
        steps=dense,
        token_at=np.array(tokens, dtype=np.int32),
        ids=np.array(list(added), dtype=np.int32),
        is_odd=np.array([_is_odd(each) for each in added.values()], dtype=np.bool_),
        plainest=next((each.content for each in added.values() if not _is_odd(each)), None),
    )


def _is_odd(token: AddedToken) -> bool:
    return bool(token.lstrip or token.rstrip or token.single_word)
