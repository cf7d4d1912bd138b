"""Rows of no known format: what a recipe may say about their fields, and what comes of it."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from tasks.formats import reader
from tasks.formats.mapping import FieldMap
from tasks.formats.row import Conversation, RowError
from tests.formats.making import asked, chat

TURNS = chat(("user", "a"), ("assistant", "b"), ("user", "c"))["messages"]

READ: list[tuple[dict[str, Any], dict[str, Any], Conversation]] = [
    ({"prompt": "task", "answer": "solution"}, {"task": "a", "solution": "b"}, Conversation(asked("a", "b"))),
    (
        {"prompt": "task", "answer": "solution", "system": "hint"},
        {"task": "a", "solution": "b", "hint": "s", "messages": []},
        Conversation(asked("a", "b", system_text="s")),
    ),
    (
        {"prompt": "task", "answer": "solution", "system": "hint"},
        {"task": "a", "solution": "b"},
        Conversation(asked("a", "b")),
    ),
    # A number is an answer where the recipe says so.
    ({"prompt": "sum", "answer": "n"}, {"sum": "1 + 1", "n": 2}, Conversation(asked("1 + 1", "2"))),
    ({"prompt": "sum", "answer": "n"}, {"sum": "1 / 2", "n": 0.5}, Conversation(asked("1 / 2", "0.5"))),
    ({"prompt": "sum", "answer": "n"}, {"sum": "1 < 2", "n": True}, Conversation(asked("1 < 2", "true"))),
    # Self-instruct's seeds.
    (
        {"prompt": ["instruction", "instances.0.input"], "answer": "instances.0.output"},
        {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]},
        Conversation(asked("Add.\n\n1 2", "3")),
    ),
    (
        {"prompt": ["instruction", "instances.0.input"], "answer": "instances.0.output"},
        {"instruction": "Go.", "instances": [{"input": "", "output": "3"}]},
        Conversation(asked("Go.", "3")),
    ),
    # A field whose name has dots.
    ({"prompt": "meta.q", "answer": "a"}, {"meta.q": "x", "a": "y"}, Conversation(asked("x", "y"))),
    # Turns as JSON, a score, and a user who has the last word.
    (
        {"messages": "traj", "quality": "reward", "cut_unanswered": True},
        {"traj": json.dumps(TURNS), "reward": 1},
        Conversation(asked("a", "b"), None, 1.0),
    ),
    # Turns in rounds, an answer apart, tools, a score as a table of text has it.
    (
        {"messages": "question", "answer": "truth", "tools": "function", "quality": "score"},
        {"question": json.dumps([TURNS[:2], TURNS[2:]]), "truth": "d", "function": '[{"name": "f"}]', "score": "0.5"},
        Conversation(asked("a", "b", "c", "d"), '[{"type":"function","function":{"name":"f"}}]', 0.5),
    ),
    ({"messages": "row.turns"}, {"row": json.dumps({"turns": TURNS[:2]})}, Conversation(asked("a", "b"))),
    (
        {"prompt": "q", "answer": "a", "quality": "s"},
        {"q": "x", "a": "y", "s": float("nan")},
        Conversation(asked("x", "y")),
    ),
    ({"prompt": "q", "answer": "a", "quality": "s"}, {"q": "x", "a": "y", "s": ""}, Conversation(asked("x", "y"))),
]


@pytest.mark.parametrize(("fields", "row", "expected"), READ)
def test_mapped_fields_are_read(fields: dict[str, Any], row: dict[str, Any], expected: Conversation) -> None:
    assert reader(None, fields)(row) == expected
    assert reader(None, FieldMap(**fields).model_dump())(row) == expected


REFUSED: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"prompt": "task", "answer": "solution"}, {"task": "a", "result": "b"}, "no solution: the row has result, task"),
    ({"prompt": "q", "answer": "a.0.text"}, {"q": "x", "a": []}, "no a.0.text: the row has a, q"),
    ({"prompt": "q", "answer": "a"}, {"q": "x", "a": float("nan")}, "no a"),
    ({"prompt": "q", "answer": "a"}, {"q": "x", "a": ["y"]}, "a is list, not text; name the place in it, as a.0"),
    ({"prompt": "q", "answer": "a.b"}, {"q": "x", "a": "{"}, "the text before b in a.b is no JSON"),
    ({"prompt": "q", "answer": "a", "quality": "s"}, {"q": "x", "a": "y", "s": "good"}, "wrong quality"),
    ({"prompt": "q", "answer": "a", "quality": "s"}, {"q": "x", "a": "y", "s": 1e999}, "wrong quality"),
    ({"messages": "t"}, {"t": TURNS}, "no answer"),
    ({"messages": "t"}, {"turns": TURNS}, "wrong type: t is NoneType"),
    ({"messages": "t", "cut_unanswered": True}, {"t": TURNS[:1]}, "no answer"),
    ({"messages": "t", "tools": "f"}, {"t": TURNS[:2], "f": "add"}, "broken tools"),
]


@pytest.mark.parametrize(("fields", "row", "words"), REFUSED)
def test_a_row_without_what_the_recipe_names_says_so(fields: dict[str, Any], row: dict[str, Any], words: str) -> None:
    with pytest.raises(RowError) as caught:
        reader(None, fields)(row)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "map lacks prompt and answer; name prompt and answer, or messages"),
        ({"prompt": "q"}, "map lacks answer; name prompt and answer, or messages"),
        ({"answer": "a"}, "map lacks prompt; name prompt and answer, or messages"),
        ({"messages": "m", "prompt": "q"}, "take prompt out"),
        ({"prompt": "q", "answer": "a", "cut_unanswered": True}, "take it or answer out"),
        ({"messages": "m", "answer": "a", "cut_unanswered": True}, "take it or answer out"),
        ({"prompt": [], "answer": "a"}, "give the name of a field"),
        ({"prompt": " ", "answer": "a"}, "give the name of a field"),
        ({"prompt": "q", "answer": " "}, "match pattern"),
        ({"prompt": "q", "answer": "a", "input": "i"}, "not permitted"),
    ],
)
def test_a_map_that_contradicts_itself_is_refused_with_the_recipe(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        FieldMap.model_validate(fields)
