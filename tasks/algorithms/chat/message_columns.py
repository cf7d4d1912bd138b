"""The messages of a batch of conversations, column by column."""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.chat.control_tokens import ControlTokensOfRoles
from tasks.algorithms.chat.laid_columns import Columns, may_be_space, text_edges
from tasks.algorithms.chat.layouts import Shape, Turn
from tasks.algorithms.chat.rendered_rows import members
from tasks.algorithms.chat.symbolic_text import Field
from tasks.algorithms.tokens.arrays import Flags, Places
from tasks.conversation import Message

_NAMES = ("content", "reasoning", "tool_calls", "tool_call_id", "name")
_REASONING, _WEIGHTLESS, _FLAGS = 1, 2, 4
_MOST_CODES = 255
_JSON_ESCAPE = "\\"


class MessageColumns:
    """All messages of a batch, one behind the other, as flat columns."""

    def __init__(self, batch: pa.RecordBatch | pa.Table) -> None:
        self.rows = batch.num_rows
        lists = _whole(batch["messages"])
        self._missing = ~_flags(lists.is_valid())
        counts = np.asarray(pc.fill_null(pc.list_value_length(lists), 0), np.int64)
        self._offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        flat = lists.flatten()
        self._messages = len(flat)
        names = {each.name for each in flat.type}
        held = dict(zip((each.name for each in flat.type), flat.flatten(), strict=True))
        self._role = held["role"].cast(pa.large_string())
        none = pa.nulls(len(flat), pa.large_string())
        self._texts = {name: held[name].cast(pa.large_string()) if name in names else none for name in _NAMES}
        self._weight = held.get("weight", pa.nulls(len(flat), pa.float32()))
        tools = _whole(batch["tools"]) if "tools" in batch.schema.names else pa.nulls(self.rows)
        self._tools = tools.cast(pa.large_string())

    def conversations(self, rows: Places) -> Iterator[tuple[list[Message] | None, str | None]]:
        """The messages and tools of these rows; no messages where the row has none."""
        counts = self._offsets[rows + 1] - self._offsets[rows]
        place = pa.array(members(self._offsets, rows))
        columns: dict[str, list[Any]] = {"role": self._role.take(place).to_pylist()}
        columns |= {name: texts.take(place).to_pylist() for name, texts in self._texts.items() if _any(texts)}
        if _any(self._weight):
            columns["weight"] = self._weight.take(place).to_pylist()
        messages = iter(
            [_message(dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
        )
        tools = self._tools.take(pa.array(rows)).to_pylist()
        for count, schemas, missing in zip(counts.tolist(), tools, self._missing[rows].tolist(), strict=True):
            mine = [next(messages) for _ in range(count)]
            yield (None if missing else mine), schemas

    def rows_holding(self, tokens: ControlTokensOfRoles) -> Flags:
        """The rows in whose texts a control token may stand."""
        assistant = _flags(pc.fill_null(pc.equal(self._role, "assistant"), False))
        found = np.zeros(self._messages, np.bool_)
        for texts in filter(_any, self._texts.values()):
            found |= np.where(assistant, tokens.assistant.held_by(texts), tokens.others.held_by(texts))
        found |= _holds(self._texts["tool_calls"], _JSON_ESCAPE)
        held = tokens.assistant.held_by(self._tools) | _holds(self._tools, _JSON_ESCAPE)
        return np.asarray(held | self._rows_with(found))

    def unlike(self, spelled: Flags) -> Places:
        """The rows that no shape tells enough of: with tools, calls, names or empty contents, or spelled tokens."""
        return np.nonzero(self._unlike | spelled)[0]

    def shapes(self, spelled: Flags) -> Iterator[tuple[Shape, Places]]:
        """All other rows by their shapes."""
        (rows,) = np.nonzero(~(self._unlike | spelled))
        if not len(rows):
            return
        codes, names = self._codes
        counts = self._offsets[rows + 1] - self._offsets[rows]
        flat = codes[members(self._offsets, rows)].astype(np.uint8)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        keys = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), len(rows), [None, pa.py_buffer(offsets), pa.py_buffer(flat)]
        ).dictionary_encode()
        order = np.argsort(np.asarray(keys.indices), kind="stable")
        bounds = np.cumsum(np.bincount(np.asarray(keys.indices), minlength=len(keys.dictionary)))[:-1]
        for key, mine in zip(keys.dictionary.to_pylist(), np.split(order, bounds), strict=True):
            yield tuple(_turn(code, names) for code in key), rows[mine]

    def of(self, fields: Iterable[Field], rows: Places) -> Columns:
        """The texts of these fields in rows of one shape."""
        begins = self._offsets[rows]
        return {field: self._texts[field.name].take(pa.array(begins + field.message)) for field in fields}

    @cached_property
    def _unlike(self) -> Flags:
        blank = _blank(self._texts["content"]) | (_filled(self._texts["reasoning"]) & _blank(self._texts["reasoning"]))
        named = [_filled(self._texts[name]) for name in ("tool_calls", "tool_call_id", "name")]
        messages = np.logical_or.reduce([blank, *named, self._codes[0] > _MOST_CODES, ~_flags(self._role.is_valid())])
        return np.asarray(self._rows_with(messages) | (np.diff(self._offsets) == 0) | _filled(self._tools))

    @cached_property
    def _codes(self) -> tuple[Places, list[str]]:
        """A number for all that a shape tells of a message, and the roles that the numbers count in."""
        roles = self._role.dictionary_encode()
        numbers = np.asarray(pc.fill_null(roles.indices, 0), np.int64)
        weightless = _flags(pc.fill_null(pc.equal(self._weight, 0.0), False))
        flags = _REASONING * _filled(self._texts["reasoning"]) + _WEIGHTLESS * weightless
        return numbers * _FLAGS + flags, roles.dictionary.to_pylist()

    def _rows_with(self, messages: Flags) -> Flags:
        """The rows that hold one of these messages."""
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(messages)])[self._offsets]
        return np.asarray(before[1:] > before[:-1])


def _turn(code: int, roles: list[str]) -> Turn:
    flags = code % _FLAGS
    return Turn(
        roles[code // _FLAGS],
        ("content", "reasoning") if flags & _REASONING else ("content",),
        bool(flags & _WEIGHTLESS),
    )


def _message(fields: dict[str, Any]) -> Message:
    kept = {name: value for name, value in fields.items() if value is not None}
    return {"role": "", "content": "", **kept}  # type: ignore[typeddict-item]


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _any(column: pa.Array) -> bool:
    return bool(column.null_count < len(column))


def _flags(column: pa.Array) -> Flags:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.bool_)


def _filled(texts: pa.Array) -> Flags:
    return _flags(pc.fill_null(pc.greater(pc.binary_length(texts), 0), False))


def _holds(texts: pa.Array, part: str) -> Flags:
    return _flags(pc.fill_null(pc.match_substring(texts, part), False))


def _blank(texts: pa.LargeStringArray) -> Flags:
    """Texts that are missing, empty or white space only."""
    blank = ~_filled(texts)
    (filled,) = np.nonzero(~blank)
    first, last = text_edges(texts.take(pa.array(filled)))
    suspects = filled[may_be_space(first) & may_be_space(last)]
    blank[suspects] = [text.isspace() for text in texts.take(pa.array(suspects)).to_pylist()]
    return blank
