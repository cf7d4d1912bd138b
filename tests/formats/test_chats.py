"""Turns as people write them: OpenAI's messages, ShareGPT's conversations, tools, reasoning, weights."""

import json
from typing import Any

import pytest

from tasks.conversation import Message
from tasks.formats import reader
from tasks.formats.row import RowError
from tests.formats.making import asked, chat, sharegpt

READ: list[tuple[dict[str, Any], list[Message]]] = [
    (chat(("user", "Hi"), ("assistant", "Hello")), asked("Hi", "Hello")),
    (chat(("system", "Be brief"), ("user", "Hi"), ("assistant", "Yo")), asked("Hi", "Yo", system_text="Be brief")),
    (chat(("developer", "Be brief"), ("user", "Hi"), ("assistant", "Yo")), asked("Hi", "Yo", system_text="Be brief")),
    (chat(("user", "Hi"), ("assistant", "Yo"), system="Be brief"), asked("Hi", "Yo", system_text="Be brief")),
    (chat(("system", "s"), ("user", "Hi"), ("assistant", "Yo"), system="s"), asked("Hi", "Yo", system_text="s")),
    (chat(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")), asked("a", "b", "c", "d")),
    (
        chat(("user", [{"type": "text", "text": "a"}, {"type": "text", "value": "b"}]), ("assistant", "c")),
        asked("a\nb", "c"),
    ),
    (
        chat(("user", [{"type": "input_text", "text": "a"}]), ("assistant", [{"type": "output_text", "text": "b"}])),
        asked("a", "b"),
    ),
    ({"messages": json.dumps(chat(("user", "Hi"), ("assistant", "Yo"))["messages"])}, asked("Hi", "Yo")),
    (sharegpt(("human", "Hi"), ("gpt", "Hello")), asked("Hi", "Hello")),
    (sharegpt(("user", "Hi"), ("model", "Yo"), system="Be brief"), asked("Hi", "Yo", system_text="Be brief")),
    (sharegpt(("Human", "Hi"), ("ChatGPT", "Hello")), asked("Hi", "Hello")),
    ({"conversations": chat(("user", "Hi"), ("assistant", "Hello"))["messages"]}, asked("Hi", "Hello")),
    ({"conversation": chat(("user", "Hi"), ("assistant", "Hello"))["messages"], "model": "m"}, asked("Hi", "Hello")),
    ({"conversations": ["Hi", "Hello"], "source": "stackexchange"}, asked("Hi", "Hello")),
    ({"conversations": ["a", "b", "c", "d"]}, asked("a", "b", "c", "d")),
    ({"conversations": [["a", "b"], ["c", "d"]]}, asked("a", "b", "c", "d")),
    (chat(("user", "Hi"), ("assistant", "")), asked("Hi", "")),
]


@pytest.mark.parametrize(("row", "expected"), READ)
def test_a_row_is_recognised_and_read(row: dict[str, Any], expected: list[Message]) -> None:
    assert reader(None)(row).messages == expected


@pytest.mark.parametrize("speaker", ["assistant", "gpt", "chatgpt", "bing", "bard", "model", "GPT"])
def test_every_spelling_of_the_assistant(speaker: str) -> None:
    assert reader(None)(sharegpt(("human", "Hi"), (speaker, "Yo"))).messages == asked("Hi", "Yo")


ADD = {"type": "function", "function": {"name": "add", "arguments": {"b": 2, "a": "ü"}}}
CALLED = '[{"type":"function","function":{"name":"add","arguments":{"b":2,"a":"ü"}}}]'
WITH_ID = CALLED.replace('{"type"', '{"id":"1","type"')
PARALLEL = f"[{WITH_ID[1:-1]},{WITH_ID[1:-1].replace('1', '2', 1)}]"


def tool_row(*turns: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "q"}, *turns]}


CALLS: list[tuple[dict[str, Any], list[Message]]] = [
    # Content null, arguments as JSON text, a result by id.
    (
        tool_row(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "1",
                        "index": 0,
                        "type": "function",
                        "function": {"name": "add", "arguments": '{"b": 2, "a": "\\u00fc"}'},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "1", "name": "add", "content": "3"},
            {"role": "assistant", "content": "It is 3."},
        ),
        [
            {"role": "assistant", "content": "", "tool_calls": WITH_ID},
            {"role": "tool", "content": "3", "tool_call_id": "1", "name": "add"},
            {"role": "assistant", "content": "It is 3."},
        ],
    ),
    # Parallel calls, several results in a row, arguments as an object.
    (
        tool_row(
            {"role": "assistant", "content": "Both.", "tool_calls": [{**ADD, "id": "1"}, {**ADD, "id": "2"}]},
            {"role": "tool", "tool_call_id": "2", "content": {"sum": 3}},
            {"role": "tool", "tool_call_id": "1", "content": [1, 2]},
            {"role": "assistant", "content": "Done."},
        ),
        [
            {"role": "assistant", "content": "Both.", "tool_calls": PARALLEL},
            {"role": "tool", "content": '{"sum":3}', "tool_call_id": "2"},
            {"role": "tool", "content": "[1,2]", "tool_call_id": "1"},
            {"role": "assistant", "content": "Done."},
        ],
    ),
    # The older spelling: function_call, and the role function.
    (
        tool_row(
            {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": '{"b":2,"a":"ü"}'}},
            {"role": "function", "name": "add", "content": "3"},
            {"role": "assistant", "content": "3"},
        ),
        [
            {"role": "assistant", "content": "", "tool_calls": CALLED},
            {"role": "tool", "content": "3", "name": "add"},
            {"role": "assistant", "content": "3"},
        ],
    ),
    # A conversation may end in a call, and a call need not have arguments.
    (
        tool_row({"role": "assistant", "tool_calls": [{"function": {"name": "now", "arguments": ""}}]}),
        [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": '[{"type":"function","function":{"name":"now","arguments":{}}}]',
            }
        ],
    ),
    # LLaMA-Factory's typed parts.
    (
        tool_row(
            {
                "role": "assistant",
                "content": [
                    {"type": "reasoning", "value": "I must add."},
                    {"type": "tool_call", "value": '{"name": "add", "arguments": {"b": 2, "a": "ü"}}'},
                ],
            },
            {"role": "tool", "content": [{"type": "text", "value": "3"}]},
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "value": "Three."}, {"type": "text", "value": "3"}],
            },
        ),
        [
            {"role": "assistant", "content": "", "reasoning": "I must add.", "tool_calls": CALLED},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "3", "reasoning": "Three."},
        ],
    ),
    # ShareGPT's turns of calls and observations.
    (
        sharegpt(
            ("human", "q"),
            ("function_call", '{"name": "add", "arguments": {"b": 2, "a": "ü"}}'),
            ("observation", "3"),
            ("gpt", "It is 3."),
        ),
        [
            {"role": "assistant", "content": "", "tool_calls": CALLED},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "It is 3."},
        ],
    ),
    (
        sharegpt(
            ("human", "q"),
            ("gpt", "Let me see."),
            ("function-call", '[{"name": "add", "arguments": "{\\"b\\": 2, \\"a\\": \\"ü\\"}"}]'),
            ("tool_call", json.dumps(ADD)),
            ("function-response", "3"),
            ("gpt", "3"),
        ),
        [
            {"role": "assistant", "content": "Let me see.", "tool_calls": f"[{CALLED[1:-1]},{CALLED[1:-1]}]"},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "3"},
        ],
    ),
    # Calls written into the assistant's words stay there.
    (
        sharegpt(("human", "q"), ("gpt", "<tool_call>{}</tool_call>"), ("tool", "3"), ("gpt", "3")),
        [
            {"role": "assistant", "content": "<tool_call>{}</tool_call>"},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "3"},
        ],
    ),
]


@pytest.mark.parametrize(("row", "expected"), CALLS)
def test_calls_and_results_in_every_spelling_become_one(row: dict[str, Any], expected: list[Message]) -> None:
    assert reader(None)(row).messages == [{"role": "user", "content": "q"}, *expected]


SCHEMA = {"name": "add", "parameters": {"type": "object", "properties": {"b": {}, "a": {}}}}
WRITTEN = f'[{{"type":"function","function":{json.dumps(SCHEMA, separators=(",", ":"))}}}]'


@pytest.mark.parametrize(
    ("fields", "tools"),
    [
        ({"tools": [SCHEMA]}, WRITTEN),
        ({"tools": [{"type": "function", "function": SCHEMA}]}, WRITTEN),
        ({"tools": json.dumps([SCHEMA])}, WRITTEN),
        ({"tools": [json.dumps(SCHEMA)]}, WRITTEN),
        ({"functions": SCHEMA, "tools": None}, WRITTEN),
        ({"tools": "[]"}, None),
        ({"tools": " "}, None),
        ({"tools": None}, None),
    ],
)
def test_tool_schemas_in_every_spelling_become_one(fields: dict[str, Any], tools: str | None) -> None:
    for row in (chat(("user", "a"), ("assistant", "b")), sharegpt(("human", "a"), ("gpt", "b"))):
        assert reader(None)({**row, **fields}).tools == tools


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_is_kept_apart_from_the_answer(name: str) -> None:
    (_, answer) = reader(None)(tool_row({"role": "assistant", "content": "a", name: "hm"})).messages
    assert answer == {"role": "assistant", "content": "a", "reasoning": "hm"}


@pytest.mark.parametrize(
    ("told", "weight"),
    [
        ({}, None),
        ({"weight": 1}, None),
        ({"train": True}, None),
        ({"train": None, "weight": None}, None),
        ({"weight": 0}, 0.0),
        ({"loss_weight": 0.5}, 0.5),
        ({"train": False}, 0.0),
        ({"train": True, "weight": 0.5}, 0.5),
        ({"weight": 2, "loss_weight": 2.0}, 2.0),
        ({"weight": 0.1}, 0.10000000149011612),
    ],
)
def test_a_turn_says_how_much_it_counts(told: dict[str, Any], weight: float | None) -> None:
    (_, answer) = reader(None)(tool_row({"role": "assistant", "content": "a", **told})).messages
    assert answer.get("weight") == weight


def test_the_weight_of_a_turn_that_is_not_learnt_anyway_is_not_kept() -> None:
    row = {"messages": [{"role": "user", "content": "q", "loss_weight": 0.0}, {"role": "assistant", "content": "a"}]}
    assert reader(None)(row).messages == asked("q", "a")


def answering(**said: Any) -> dict[str, Any]:
    return tool_row({"role": "assistant", **said})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "wrong type"),
    ({"messages": "Hi"}, "wrong type"),
    ({"messages": '{"role": "user"}'}, "wrong type"),
    ({"messages": None}, "wrong type"),
    ({"messages": ["Hi"]}, "no answer"),
    ({"messages": ["Hi", {"role": "assistant", "content": "a"}]}, "wrong type"),
    ({"conversations": {}}, "wrong type"),
    (chat(("user", "Hi")), "no answer"),
    (chat(("user", "Hi"), ("assistant", None)), "no answer"),
    (chat(("user", "Hi"), ("assistant", "a"), ("user", "b")), "no answer"),
    (chat(("user", None), ("assistant", "a")), "no content"),
    (chat(("assistant", "Hello"), ("user", "Hi"), ("assistant", "a")), "roles out of order"),
    (sharegpt(("gpt", "Hello"), ("human", "Hi"), ("gpt", "a")), "roles out of order"),
    (chat(("user", "a"), ("user", "b"), ("assistant", "c")), "roles out of order"),
    (chat(("user", "a"), ("assistant", "b"), ("assistant", "c")), "roles out of order"),
    (chat(("robot", "a"), ("assistant", "c")), "unknown role"),
    (chat((None, "a"), ("assistant", "c")), "unknown role"),
    (sharegpt(("human", "Hi"), (["gpt"], "x")), "unknown role"),
    (chat(("user", 5), ("assistant", "c")), "wrong type"),
    (sharegpt(("human", "Hi"), ("gpt", 3)), "wrong type"),
    (chat(("user", [{"type": "image_url", "image_url": {"url": "x"}}]), ("assistant", "c")), "not text"),
    (chat(("user", [{"type": "text", "text": 3}]), ("assistant", "c")), "wrong type"),
    (chat(("user", [{"type": "reasoning", "value": "hm"}]), ("assistant", "c")), "wrong type"),
    (chat(("user", "\ud800"), ("assistant", "c")), "broken text"),
    (chat(("user", "a"), ("assistant", "c"), tools=[{"name": "\udfff"}]), "broken text"),
    (answering(content="a", reasoning="\ud800"), "broken text"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": '{"a": "\\ud800"}'}}]), "broken text"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": "{'a': 1}"}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": '{"a": NaN}'}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": '{"a": 1e999}'}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": "[1]"}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": '{"a": 1, "a": 2}'}}]), "broken tool call"),
    (
        answering(tool_calls=[{"function": {"name": "f", "arguments": '{"a": %s}' % ("[" * 64 + "]" * 64)}}]),
        "broken tool call",
    ),
    (answering(tool_calls=[{"function": {"name": "f", "arguments": "[" * 100_000}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"name": "", "arguments": "{}"}}]), "broken tool call"),
    (answering(tool_calls=[{"function": {"arguments": "{}"}}]), "broken tool call"),
    (answering(tool_calls=[{"type": "retrieval", "function": {"name": "f"}}]), "broken tool call"),
    (answering(tool_calls=[{"id": 3, "function": {"name": "f"}}]), "broken tool call"),
    (answering(tool_calls="f(1)"), "broken tool call"),
    (sharegpt(("human", "q"), ("function_call", "f(1)")), "broken tool call"),
    (sharegpt(("human", "q"), ("function_call", None)), "broken tool call"),
    (chat(("user", "a"), ("assistant", "b"), tools="hammer"), "broken tools"),
    (chat(("user", "a"), ("assistant", "b"), tools=["hammer"]), "broken tools"),
    (chat(("user", "a"), ("assistant", "b"), tools=[{"type": "function"}]), "broken tools"),
    (
        {"messages": [{"role": "user", "content": "a", "tool_calls": [ADD]}, {"role": "assistant", "content": "b"}]},
        "broken tool call",
    ),
    (chat(("user", "a"), ("tool", "3"), ("assistant", "b")), "tool result without a call"),
    (
        tool_row(
            {"role": "assistant", "tool_calls": [{**ADD, "id": "1"}]},
            {"role": "tool", "content": "3", "tool_call_id": "2"},
            {"role": "assistant", "content": "b"},
        ),
        "tool result without a call",
    ),
    (
        tool_row(
            {"role": "assistant", "tool_calls": [ADD]},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "b"},
            {"role": "tool", "content": "3"},
            {"role": "assistant", "content": "b"},
        ),
        "tool result without a call",
    ),
    (answering(content="a", weight=-1), "wrong weight"),
    (answering(content="a", weight=float("nan")), "wrong weight"),
    (answering(content="a", loss_weight=float("inf")), "wrong weight"),
    (answering(content="a", weight="1"), "wrong weight"),
    (answering(content="a", weight=True), "wrong weight"),
    (answering(content="a", train=1), "wrong weight"),
    (answering(content="a", train=False, weight=1), "wrong weight"),
    (answering(content="a", weight=1, loss_weight=0.5), "wrong weight"),
    (answering(content="a", reasoning=["hm"]), "wrong type"),
]


@pytest.mark.parametrize(("row", "cause"), REFUSED)
def test_a_row_that_cannot_be_read_says_why(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(RowError) as caught:
        reader(None)(row)
    assert caught.value.cause == cause
    assert caught.value.detail
