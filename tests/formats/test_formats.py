"""Rows of every format, as people write them, and what is wrong with those that cannot be read."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.conversation import Message
from tasks.formats import FORMATS, reader
from tasks.formats.row import ROLES, RowError


def turns(*texts: str, system: str = "") -> list[Message]:
    opening: list[Message] = [{"role": "system", "content": system}] if system else []
    return opening + [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(texts)]


def messages(*pairs: tuple[Any, Any]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs]}


def sharegpt(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in pairs], **more}


READ: list[tuple[dict[str, Any], list[Message]]] = [
    (messages(("user", "Hi"), ("assistant", "Hello")), turns("Hi", "Hello")),
    (messages(("system", "Be brief"), ("user", "Hi"), ("assistant", "Hello")), turns("Hi", "Hello", system="Be brief")),
    (messages(("developer", "Be brief"), ("user", "Hi"), ("assistant", "Yo")), turns("Hi", "Yo", system="Be brief")),
    (messages(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), turns("a", "b", "c", "d")),
    (
        messages(("user", [{"type": "text", "text": "a"}, {"type": "text", "value": "b"}]), ("assistant", "c")),
        turns("a\nb", "c"),
    ),
    (sharegpt(("human", "Hi"), ("gpt", "Hello")), turns("Hi", "Hello")),
    (sharegpt(("user", "Hi"), ("model", "Hello"), system="Be brief"), turns("Hi", "Hello", system="Be brief")),
    ({"conversations": messages(("user", "Hi"), ("assistant", "Hello"))["messages"]}, turns("Hi", "Hello")),
    ({"instruction": "Add.", "input": "1 2", "output": "3"}, turns("Add.\n\n1 2", "3")),
    ({"instruction": "Name one.", "input": "", "output": "Paris"}, turns("Name one.", "Paris")),
    ({"instruction": "Name one.", "input": " \n", "output": "Paris"}, turns("Name one.", "Paris")),
    ({"instruction": "Name one.", "response": "Paris"}, turns("Name one.", "Paris")),
    (
        {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]},
        turns("a", "b", "c", "d", system="s"),
    ),
    ({"instruction": "c", "output": "d", "history": None, "input": None}, turns("c", "d")),
    ({"prompt": "Hi", "completion": "Hello"}, turns("Hi", "Hello")),
    ({"question": "Hi", "answer": "Hello"}, turns("Hi", "Hello")),
    ({"query": "Hi", "response": "Hello", "system": "Be brief"}, turns("Hi", "Hello", system="Be brief")),
    ({"question": "Hi", "answer": ""}, turns("Hi", "")),
]


@pytest.mark.parametrize(("row", "expected"), READ)
def test_a_row_is_recognised_and_read(row: dict[str, Any], expected: list[Message]) -> None:
    assert reader(None, {})(row) == expected


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "unknown format"),
    ({"prompt": "Hi", "chosen": "a", "rejected": "b"}, "unknown format"),
    ({"\ud800": 1}, "unknown format"),
    ({"messages": []}, "wrong type"),
    ({"messages": "Hi"}, "wrong type"),
    ({"messages": None}, "wrong type"),
    ({"messages": ["Hi"]}, "wrong type"),
    (messages(("user", "Hi")), "no answer"),
    (messages(("user", "Hi"), ("assistant", None)), "no answer"),
    (messages(("user", "Hi"), ("assistant", "a"), ("user", "b")), "no answer"),
    (messages(("user", None), ("assistant", "a")), "no content"),
    (messages(("assistant", "Hello"), ("user", "Hi"), ("assistant", "a")), "roles out of order"),
    (messages(("user", "a"), ("user", "b"), ("assistant", "c")), "roles out of order"),
    (messages(("user", "a"), ("assistant", "b"), ("assistant", "c")), "roles out of order"),
    (messages(("robot", "a"), ("assistant", "c")), "unknown role"),
    (messages((None, "a"), ("assistant", "c")), "unknown role"),
    (messages(("user", 5), ("assistant", "c")), "wrong type"),
    (messages(("user", [{"type": "image", "url": "x"}]), ("assistant", "c")), "wrong type"),
    (messages(("user", "\ud800"), ("assistant", "c")), "broken text"),
    (sharegpt(("human", "Hi"), ("alien", "x")), "unknown role"),
    (sharegpt(("human", "Hi"), (["gpt"], "x")), "unknown role"),
    (sharegpt(("human", "Hi"), ("gpt", 3)), "wrong type"),
    ({"conversations": {}}, "wrong type"),
    ({"instruction": "Add.", "output": None}, "no output"),
    ({"instruction": None, "output": "3"}, "no instruction"),
    ({"instruction": "Add.", "output": 3}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": "earlier"}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": [["a"]]}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": [["a", None]]}, "wrong type"),
    ({"question": "Hi", "answer": None}, "no completion"),
    ({"question": float("nan"), "answer": "x"}, "wrong type"),
]


@pytest.mark.parametrize(("row", "cause"), REFUSED)
def test_a_row_that_cannot_be_read_says_why(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(RowError) as caught:
        reader(None, {})(row)
    assert caught.value.cause == cause


def test_mapped_fields_are_read_and_missing_ones_named() -> None:
    read = reader(None, {"prompt": "task", "answer": "solution", "system": "hint"})
    assert read({"task": "a", "solution": "b", "hint": "s", "messages": []}) == turns("a", "b", system="s")
    assert read({"task": "a", "solution": "b"}) == turns("a", "b")
    with pytest.raises(RowError, match="no solution"):
        read({"task": "a", "answer": "b"})


def test_a_named_format_is_not_guessed_at() -> None:
    row = {"instruction": "i", "output": "o", "question": "q", "answer": "a"}
    assert reader("pairs", {})(row) == turns("q", "a")
    assert reader(None, {})(row) == turns("i", "o")


def test_the_detail_of_a_reject_is_short_and_storable() -> None:
    with pytest.raises(RowError) as caught:
        reader(None, {})({"\ud800" + "x" * 1000: 1})
    caught.value.detail.encode()
    assert len(caught.value.detail) < 400


_NAMES = ["messages", "conversations", "role", "content", "from", "value", "instruction", "input", "output", "history"]
_NAMES += ["question", "answer", "prompt", "response", "system", "type", "text"]
_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from([*ROLES, "gpt"])
)
_GARBAGE = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
)


@given(row=st.dictionaries(st.sampled_from(_NAMES), _GARBAGE, max_size=5))
def test_whatever_the_row_a_conversation_comes_out_or_a_reason(row: dict[str, Any]) -> None:
    for read in (reader(None, {}), *(each.read for each in FORMATS)):
        try:
            found = read(row)
        except RowError as error:
            error.detail.encode()
            continue
        except KeyError:
            assert read is not reader(None, {})  # a named format may lack its main field
            continue
        assert found[-1]["role"] == "assistant"
        json.dumps(found).encode()
