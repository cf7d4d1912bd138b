"""Pieces of texts and the tokens of each, in flat arrays of bounded size."""

import numpy as np
from tokenizers import Tokenizer

from tasks.algorithms.tokens.arrays import Flags, Places
from tasks.algorithms.tokens.piece_loops import FREE, ROLES, opens_group, rehash
from tasks.algorithms.tokens.plain_tokens import plain_tokens

_BEFORE = "x"
"""Stands before a piece from within a text while it is tokenised."""
_TOGETHER = 64
"""So many pieces are tokenised as one text: a call of the tokenizer costs as much as some pieces."""
FEWEST_SLOTS, MOST_SLOTS = 1 << 16, 1 << 21
_BYTES_PER_SLOT = 16


class PieceStore:
    """What is known of pieces; it forgets all when it is full."""

    def __init__(self, tokenizer: Tokenizer, added_token: str | None) -> None:
        self._tokenizer = tokenizer
        self._prefixes = ["", added_token or "", _BEFORE]
        own = [len(each) for each in tokenizer.encode_batch(self._prefixes, add_special_tokens=False)]
        self._prefix_tokens = np.array(own, dtype=np.int64)
        self._prefix_bytes = np.array([len(each.encode()) for each in self._prefixes], dtype=np.int64)
        self._forget(FEWEST_SLOTS)

    def _forget(self, slots: int) -> None:
        self.known = 0
        self.slots = np.full(slots, FREE, dtype=np.uint64), np.zeros(slots, dtype=np.int32)
        spelled = np.empty(slots * _BYTES_PER_SLOT, dtype=np.uint8)
        self.pieces = spelled, np.zeros(slots // 2 + 1, dtype=np.int64), np.empty(slots // 2, dtype=np.uint8)
        self.is_odd = np.zeros(slots // 2, dtype=np.bool_)
        """Pieces whose tokens are not their own alone; nobody has seen one yet."""
        self.firsts = np.zeros(slots // 2 + 1, dtype=np.int64)
        """Where each piece's tokens stand in `stored`."""
        self.stored = np.empty((3, slots), dtype=np.int32)
        """Ids, and where tokens begin and end in their piece."""

    def make_room(self, length: int) -> None:
        """Give room for a text of so many bytes: more memory, or that of all pieces so far."""
        needed = max(2 * (length + 1), FEWEST_SLOTS)
        slots, wanted = len(self.slots[0]), 1 << (needed - 1).bit_length()
        if self.known and 2 * slots <= MOST_SLOTS:
            self._widen(2 * slots)
        else:
            self._forget(max(wanted, min(slots, MOST_SLOTS)))

    def _widen(self, slots: int) -> None:
        old, known, firsts, stored = self.slots, self.known, self.firsts, self.stored
        pieces, is_odd = self.pieces, self.is_odd
        self._forget(slots)
        self.known = known
        rehash(old, self.slots)
        self.pieces[0][: len(pieces[0])] = pieces[0]
        self.pieces[1][: len(pieces[1])] = pieces[1]
        self.pieces[2][: len(pieces[2])] = pieces[2]
        self.is_odd[: len(is_odd)], self.firsts[: len(firsts)], self.stored = is_odd, firsts, stored

    def learn(self, known: int) -> None:
        """Tokenise the pieces that were entered since the last time: those up to a number."""
        first, self.known = self.known, known
        if known == first:
            return
        opens = opens_group(self.pieces, ROLES, first, known, _TOGETHER)
        groups = first + np.flatnonzero(opens)
        tokens, owners, is_good = self._tokenised(groups, np.append(groups[1:], known))
        if not is_good.all():
            sizes = np.diff(np.append(groups, known))
            alone = first + np.flatnonzero(np.repeat(~is_good, sizes))
            kept = np.isin(owners, alone, invert=True)
            again, owners_again, is_good = self._tokenised(alone, alone + 1)
            self.is_odd[alone[~is_good]] = True
            order = np.argsort(owners := np.concatenate([owners[kept], owners_again]), kind="stable")
            tokens, owners = np.concatenate([tokens[:, kept], again], axis=1)[:, order], owners[order]
        self._store(first, known, tokens, owners)

    def _tokenised(self, groups: Places, behind: Places) -> tuple[Places, Places, Flags]:
        """Ids, begins and ends of tokens and the piece of each, and which groups came apart into pieces."""
        bounds, contexts = self.pieces[1], self.pieces[2][groups]
        made = plain_tokens(self._tokenizer, self._texts(groups, behind))
        group = np.repeat(np.arange(len(groups)), np.diff(made.offsets))
        skipped = self._prefix_bytes[contexts][group]
        begins, ends = (each + bounds[groups][group] - skipped for each in (made.begins, made.ends))
        is_prefix = made.begins < skipped
        owners = np.searchsorted(bounds[: self.known + 1], begins, side="right") - 1
        owners = np.clip(owners, groups[group], behind[group] - 1)
        is_single = (behind - groups == 1)[group]
        is_bad = np.where(is_prefix, made.ends > skipped, ends > bounds[owners + 1])
        is_bad |= ~is_single & (begins >= ends)
        is_bad[1:] |= (group[1:] == group[:-1]) & (owners[1:] < owners[:-1])
        is_good = np.bincount(group, is_bad, len(groups)) == 0
        is_good &= np.bincount(group, is_prefix, len(groups)) == self._prefix_tokens[contexts]
        own = ~is_prefix & is_good[group]
        places = bounds[owners[own]]
        return np.stack([made.ids[own], begins[own] - places, ends[own] - places]), owners[own], is_good

    def _texts(self, groups: Places, behind: Places) -> list[str]:
        spelled, bounds, contexts = self.pieces
        data, base = spelled[bounds[groups[0]] : bounds[behind[-1]]].tobytes(), int(bounds[groups[0]])
        begins, ends = (bounds[groups] - base).tolist(), (bounds[behind] - base).tolist()
        prefixes = [self._prefixes[context] for context in contexts[groups].tolist()]
        return [p + data[begin:end].decode() for p, begin, end in zip(prefixes, begins, ends, strict=True)]

    def _store(self, first: int, known: int, tokens: Places, owners: Places) -> None:
        used = int(self.firsts[first])
        counts = np.bincount(owners - first, minlength=known - first)
        self.firsts[first + 1 : known + 1] = used + counts.cumsum()
        needed = used + len(owners)
        if needed > self.stored.shape[1]:
            longer = np.empty((3, 2 * needed), dtype=np.int32)
            longer[:, :used] = self.stored[:, :used]
            self.stored = longer
        self.stored[:, used:needed] = tokens
