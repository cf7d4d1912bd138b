"""Conversations as filters see them, taken from Arrow's columns without a look at single rows."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from tasks.conversation import Message
from tasks.filters.row import Columns, Reading

Mask = npt.NDArray[np.bool_]


class Readings:
    """A batch of conversations: whole columns of what they say, and single rows where somebody asks."""

    def __init__(self, messages: pa.ListArray) -> None:
        self.messages = messages
        self._bounds = messages.offsets.to_numpy().astype(np.int64)
        self._bounds -= self._bounds[0]
        turns = messages.flatten()
        self._turns = {name: turns.field(name) for name in ("role", "content", "reasoning", "tool_calls")}

    @cached_property
    def prompts(self) -> pa.Array:
        """`prompt_text` of each row."""
        places = np.flatnonzero(self._said_by("user"))
        before = np.searchsorted(places, self._bounds)
        none = before[:-1] == before[1:]
        first = np.append(places, 0)[before[:-1]]
        return pc.fill_null(self._turns["content"].take(pa.array(first, mask=none)), "")

    @cached_property
    def answers(self) -> pa.Array:
        """`answer_text` of each row."""
        return self._joined(self._turns["content"], self._said_by("assistant"))

    def columns(self, prompt_tokens: npt.NDArray[np.int64], answer_tokens: npt.NDArray[np.int64]) -> Columns:
        """The columns that filters suspect rows by."""
        return Columns(
            prompt=_series(self.prompts),
            answer=_series(self.answers),
            text=self._texts(),
            prompt_tokens=pl.Series(prompt_tokens),
            answer_tokens=pl.Series(answer_tokens),
        )

    def _texts(self) -> pl.Series:
        contents = self._turns["content"]
        texts = _series(self._joined(contents, np.ones(len(contents), dtype=np.bool_)))
        for name in ("reasoning", "tool_calls"):
            there = self._turns[name].is_valid().to_numpy(zero_copy_only=False)
            if there.any():
                said = self._turns[name] if name == "reasoning" else _unwrapped(self._turns[name])
                more = _series(self._joined(said, there))
                texts = (texts + "\n" + more).zip_with(more != "", texts)
        return texts

    def _said_by(self, role: str) -> Mask:
        mask: Mask = pc.equal(self._turns["role"], role).to_numpy(zero_copy_only=False)
        return mask

    def _joined(self, texts: pa.Array, chosen: Mask) -> pa.Array:
        before = np.concatenate([[0], np.cumsum(chosen)])
        # Wide offsets: the texts of one batch may take more than two gigabytes.
        lists = pa.LargeListArray.from_arrays(pa.array(before[self._bounds]), texts.filter(pa.array(chosen)))
        return pc.binary_join(lists, "\n")

    def rows(self, columns: Columns, places: list[int]) -> Iterator[Reading]:
        """The rows at the places, one by one."""
        chosen = [column.gather(places).to_list() for column in columns._replace(text=columns.prompt)]
        for place, prompt, answer, _, prompt_tokens, answer_tokens in zip(places, *chosen, strict=True):
            yield Reading(prompt, answer, prompt_tokens, answer_tokens, Turns(self.messages, place))


class Turns(Sequence[Message]):
    """The messages of one row, made when somebody looks at them."""

    def __init__(self, messages: pa.ListArray, place: int) -> None:
        self._messages, self._place = messages, place

    @cached_property
    def _made(self) -> list[Message]:
        return cast("list[Message]", self._messages[self._place].as_py())

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        return self._made[index]

    def __len__(self) -> int:
        return len(self._made)


def _series(texts: pa.Array) -> pl.Series:
    return pl.Series(values=texts, dtype=pl.String)


def _unwrapped(calls: pa.Array) -> pa.Array:
    """What tool calls hold, as it reads without JSON's escapes."""
    return pa.array([None if call is None else "\n".join(_leaves(json.loads(call))) for call in calls.to_pylist()])


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _leaves(each)
    else:
        yield str(value)
