"""What of conversations is compared, as columns of text, a text a row."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Over = Literal["conversation", "prompt", "answer"]

_TEXTS = ("reasoning", "content", "tool_calls")
"""The parts of a turn, in the order in which a model writes them."""

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


class Messages(NamedTuple):
    """The turns of all rows one after the other."""

    fields: pa.StructArray
    ends: Numbers
    """Where each row's turns end."""
    user: Mask
    assistant: Mask

    @classmethod
    def of(cls, messages: pa.Array | pa.ChunkedArray) -> "Messages":
        """The turns of a column of messages."""
        lists = messages.combine_chunks() if isinstance(messages, pa.ChunkedArray) else messages
        fields = lists.flatten()
        ends = np.cumsum(pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64))
        role = fields.field("role")
        user, assistant = (pc.equal(role, each).to_numpy(zero_copy_only=False) for each in ("user", "assistant"))
        return cls(fields, ends, user, assistant)

    @property
    def begins(self) -> Numbers:
        """Where each row's turns begin."""
        return np.append(np.zeros(1, dtype=np.int64), self.ends)[:-1]

    def rows(self) -> Numbers:
        """The row that each turn belongs to."""
        return np.repeat(np.arange(len(self.ends), dtype=np.int64), self.ends - self.begins)

    def sizes(self) -> Numbers:
        """The bytes of text that each row holds."""
        texts = (pc.fill_null(pc.binary_length(self.fields.field(name)), 0).to_numpy() for name in _TEXTS)
        return np.bincount(self.rows(), sum(texts), minlength=len(self.ends)).astype(np.int64)


def compared_texts(messages: Messages, over: Over) -> pa.Array:
    """What each row is compared by: the first prompt, all answers, or both sides; tool calls are part of an answer."""
    if over == "prompt":
        places = np.flatnonzero(messages.user)
        firsts = np.unique(messages.rows()[places], return_index=True)[1]
        chosen = np.zeros(len(messages.user), dtype=np.bool_)
        chosen[places[firsts]] = True
        return _joined(messages, chosen, ("content",))
    chosen = messages.assistant if over == "answer" else messages.user | messages.assistant
    return _joined(messages, chosen, _TEXTS)


def asked_texts(messages: Messages) -> pa.Array:
    """What each row's last answer answers: all turns before it."""
    last = np.full(len(messages.ends), -1, dtype=np.int64)
    places = np.flatnonzero(messages.assistant)
    np.maximum.at(last, messages.rows()[places], places)
    return _joined(
        messages, np.arange(len(messages.user)) < np.repeat(last, messages.ends - messages.begins), ("content",)
    )


def _joined(messages: Messages, chosen: Mask, names: Sequence[str]) -> pa.Array:
    """Fields of the chosen turns of each row, joined by newlines."""
    kept = messages.fields.filter(pa.array(chosen))
    parts = [kept.field(name) for name in names if name == "content" or kept.field(name).null_count < len(kept)]
    values = (
        pc.binary_join_element_wise(*parts, "\n", null_handling="skip") if len(parts) > 1 else parts[0].fill_null("")
    )
    counts = np.concatenate([[0], np.cumsum(chosen)])
    offsets = np.concatenate([[0], counts[messages.ends]]).astype(np.int32)
    return pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), values), "\n")
