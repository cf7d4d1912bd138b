"""What holds for rows of every format: recognition, named formats, and errors that can be stored."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.formats import FORMATS, reader
from tasks.formats.row import RowError
from tests.formats.making import asked, chat, sharegpt

CHAT, SHAREGPT = chat(("user", "m"), ("assistant", "n")), sharegpt(("human", "s"), ("gpt", "t"))
ALPACA, PAIR = {"instruction": "i", "output": "o"}, {"question": "q", "answer": "a"}
TEXT = {"text": "x"}
LABELLED, PREFERENCE = {"text": "x", "label": "l"}, {"prompt": "p", "chosen": "c", "rejected": "r"}


@pytest.mark.parametrize(
    ("row", "prompt", "answer"),
    [
        ({**PREFERENCE, **CHAT}, "m", "c"),
        ({**LABELLED, **PAIR, **ALPACA, **SHAREGPT, **CHAT}, "m", "n"),
        ({**LABELLED, **PAIR, **ALPACA, **SHAREGPT}, "s", "t"),
        ({**LABELLED, **PAIR, **ALPACA}, "i", "o"),
        ({**LABELLED, **PAIR}, "q", "a"),
        (LABELLED, "x", "l"),
        # Tables of several kinds of rows: the fields that are set decide.
        ({**ALPACA, "messages": None, "conversations": []}, "i", "o"),
        ({**PAIR, "instruction": "", "output": ""}, "q", "a"),
        ({**LABELLED, "question": None, "answer": None}, "x", "l"),
        ({**CHAT, "chosen": None, "rejected": None}, "m", "n"),
    ],
)
def test_the_most_telling_fields_decide_row_by_row(row: dict[str, Any], prompt: str, answer: str) -> None:
    if row.get("chosen"):
        row["messages"] = row["messages"][:1]
    assert reader(None)(row).messages == asked(prompt, answer)


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({}, "unknown format"),
        ({"\ud800": 1}, "unknown format"),
        ({"prompt": "a question without an answer", "label": "safe"}, "no answer"),
        ({"text": "Once upon a time"}, "no label"),
        ({"text": "def add(a, b): ...", "code": "..."}, "no label"),
        # What an answer is looked for in but not found is not taken for another format.
        ({"instruction": "i", "output": None, "text": "i o", "category": "qa"}, "no answer"),
    ],
)
def test_rows_of_no_format_are_refused(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(RowError) as caught:
        reader(None)(row)
    assert caught.value.cause == cause


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.NAME)
def test_a_named_format_is_not_guessed_at(each: Any) -> None:
    rows = {"messages": CHAT, "sharegpt": SHAREGPT, "alpaca": ALPACA, "pairs": PAIR, "labelled": LABELLED, "text": TEXT}
    row = {name: value for other in rows.values() for name, value in other.items()} | {"prompt": "p"}
    row = {**row, "chosen": CHAT["messages"], "rejected": "r"}
    wanted = each.read({**rows, "preference": {**PREFERENCE, "chosen": CHAT["messages"]}}[each.NAME])
    assert reader(each.NAME)(row) == wanted
    with pytest.raises(RowError):
        reader(each.NAME)({"unrelated": 1})


def test_the_detail_of_a_reject_is_short_and_storable() -> None:
    with pytest.raises(RowError) as caught:
        reader(None)({"\ud800" + "x" * 1000: 1})
    caught.value.detail.encode()
    assert len(caught.value.detail) < 400


_NAMES = ["messages", "conversations", "role", "content", "from", "value", "instruction", "input", "output", "history"]
_NAMES += ["question", "answer", "prompt", "response", "system", "type", "text", "label", "choices", "chosen"]
_NAMES += ["rejected", "tools", "tool_calls", "function", "name", "arguments", "weight", "train", "tool_call_id"]
_WORDS = ["user", "assistant", "system", "tool", "gpt", "function_call", "function", '{"name": "f"}', '[{"name":"f"}]']
_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_WORDS)
_GARBAGE = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
)
_MAPS = [
    {"prompt": ["question", "input.0"], "answer": "output.text", "system": "system", "quality": "weight"},
    {"messages": "messages", "tools": "tools", "cut_unanswered": True},
    {"messages": "conversations.0", "answer": "answer"},
]


@given(row=st.dictionaries(st.sampled_from(_NAMES), _GARBAGE, max_size=5))
def test_whatever_the_row_a_conversation_comes_out_or_a_reason(row: dict[str, Any]) -> None:
    for read in (reader(None), *(each.read for each in FORMATS), *(reader(None, fields) for fields in _MAPS)):
        _require_reason_or_conversation(read, row)


_TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "function_call", "system"]), "content": _LEAVES},
    optional={
        "tool_calls": _GARBAGE,
        "weight": _LEAVES,
        "reasoning": _LEAVES,
        "tool_call_id": _LEAVES,
        "train": _LEAVES,
        "name": _LEAVES,
    },
)


@given(turns=st.lists(_TURN, max_size=5), tools=_GARBAGE)
def test_whatever_the_turns_a_conversation_comes_out_or_a_reason(turns: list[Any], tools: Any) -> None:
    _require_reason_or_conversation(reader(None), {"messages": turns, "tools": tools})


def _require_reason_or_conversation(read: Any, row: dict[str, Any]) -> None:
    try:
        found = read(row)
    except RowError as error:
        error.detail.encode()
        return
    assert found.messages[-1]["role"] == "assistant"
    assert all(isinstance(json.loads(each.get("tool_calls") or "[]"), list) for each in found.messages)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
