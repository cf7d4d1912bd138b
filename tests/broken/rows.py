"""Rows that are whole but hold no conversation, or a broken one: each behind a sound row, in a file of its own."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.broken.case import Case

SOUND = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
DEEP = '{"a": ' + "[" * 80 + "]" * 80 + "}"
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
ADD = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
USER, ANSWER = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}


def turns(*given: Any, **more: Any) -> dict[str, Any]:
    return {"messages": list(given), **more}


def talk(*given: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in given], **more}


def answered(**said: Any) -> dict[str, Any]:
    return turns(USER, {"role": "assistant", **said})


def called(arguments: Any, **more: Any) -> dict[str, Any]:
    return answered(tool_calls=[{"function": {"name": "add", "arguments": arguments}} | more])


def asked(content: Any) -> dict[str, Any]:
    return turns({"role": "user", "content": content}, ANSWER)


def alpaca(**fields: Any) -> dict[str, Any]:
    return {"instruction": "i", "output": "o", **fields}


UNKNOWN: list[tuple[str, Any, str]] = [
    ("an object without fields", {}, "unknown format"),
    ("fields that no format has", {"title": "t", "body": "b"}, "unknown format"),
    ("fields of another case", {"Question": "q", "Answer": "a"}, "unknown format"),
    ("fields one level down", {"data": {"question": "q", "answer": "a"}}, "unknown format"),
    ("a field whose name is no text", {"\ud800": "q"}, "unknown format"),
    ("an answer without a question", {"answer": "a"}, "unknown format"),
    ("a label without a text", {"label": "positive"}, "unknown format"),
    ("a rejected answer alone", {"rejected": "r"}, "unknown format"),
    ("a question alone", {"question": "q"}, "no answer"),
    ("a prompt with a label", {"prompt": "p", "label": "safe"}, "no answer"),
    ("an instruction alone", {"instruction": "i", "input": "x"}, "no answer"),
    ("a raw text", {"text": "Once upon a time"}, "no label"),
    ("a text with a url", {"text": "Once upon a time", "url": "https://example.com"}, "no label"),
]

SINGLE: list[tuple[str, Any, str]] = [
    ("an answer that is null", {"question": "q", "answer": None}, "no answer"),
    ("a question that is null", {"question": None, "answer": "a"}, "no prompt"),
    ("an output that is null", alpaca(output=None), "no answer"),
    ("an instruction that is null", alpaca(instruction=None), "no prompt"),
    ("both sides null", {"prompt": None, "completion": None}, "no prompt"),
    ("an answer that is a number", {"question": "q", "answer": 42}, "wrong type"),
    ("an answer that is true", {"question": "q", "answer": True}, "wrong type"),
    ("an answer that is a list", {"question": "q", "answer": ["a", "b"]}, "wrong type"),
    ("an answer that is an object", {"question": "q", "answers": [], "answer": {"text": ["a"]}}, "wrong type"),
    ("an answer marked as a bad one", {"prompt": "p", "completion": "c", "label": False}, "unwanted answer"),
    ("a prompt that is a list", {"prompt": ["p"], "completion": "c"}, "wrong type"),
    ("an input that is a number", alpaca(input=7), "wrong type"),
    ("a context that is an object", {"question": "q", "context": {"a": 1}, "answer": "a"}, "wrong type"),
    ("a system prompt that is a list", alpaca(system=["s"]), "wrong type"),
    ("half a surrogate pair in the answer", {"question": "q", "answer": "a\ud83d"}, "broken text"),
    ("half a surrogate pair in the system prompt", alpaca(system="\udc00"), "broken text"),
    ("a history that is a text", alpaca(history="earlier"), "wrong type"),
    ("a history that is an object", alpaca(history={"q": "a"}), "wrong type"),
    ("a history of texts", alpaca(history=["q", "a"]), "wrong type"),
    ("a history whose pair lacks the answer", alpaca(history=[["q"]]), "wrong type"),
    ("a history whose pair is too long", alpaca(history=[["q", "a", "b"]]), "wrong type"),
    ("a history with an answer of null", alpaca(history=[["q", None]]), "wrong type"),
    ("a history as broken JSON", alpaca(history='[["q", "a"]'), "wrong type"),
    ("a label that is null", {"text": "t", "label": None}, "no label"),
    ("a label that is empty", {"text": "t", "label": ""}, "no label"),
    ("several labels", {"text": "t", "label": ["a", "b"]}, "wrong type"),
    ("a label without bounds", {"text": "t", "label": float("inf")}, "wrong type"),
    ("a labelled text that is a number", {"text": 5, "label": "a"}, "wrong type"),
    ("a labelled pair with one text", {"sentence1": "a", "sentence2": None, "label": 1}, "no text"),
    ("a label beyond the choices", {"query": "q", "choices": ["no", "yes"], "gold": 2}, "unknown label"),
    ("a label before the choices", {"query": "q", "choices": ["no", "yes"], "gold": -1}, "unknown label"),
    ("a label of no choices", {"query": "q", "choices": [], "gold": 0}, "unknown label"),
    ("a chosen answer that is null", {"prompt": "p", "chosen": None, "rejected": "r"}, "no answer"),
    ("a chosen answer that is a number", {"prompt": "p", "chosen": 1, "rejected": "r"}, "wrong type"),
    ("a chosen answer without a prompt", {"chosen": "c", "rejected": "r"}, "no prompt"),
    ("a chosen side that ends with the user", {"chosen": [USER], "rejected": [USER]}, "no answer"),
    ("a chosen turn of the user", {"prompt": "p", "chosen": USER, "rejected": USER}, "no answer"),
    ("a chosen turn of nobody", {"prompt": "p", "chosen": {"value": "c"}, "rejected": "r"}, "unknown role"),
    (
        "a prompt of turns that ends in an answer",
        {"prompt": [USER, ANSWER], "chosen": "c", "rejected": "r"},
        "roles out of order",
    ),
    ("a transcript whose assistant begins", {"chosen": "\n\nHuman: q", "rejected": "\n\nHuman: q"}, "no answer"),
]

TURNS: list[tuple[str, Any, str]] = [
    ("messages that are null", {"messages": None}, "wrong type"),
    ("messages that are empty", {"messages": []}, "wrong type"),
    ("messages that are a text", {"messages": "Hi"}, "wrong type"),
    ("messages that are one message", {"messages": USER}, "wrong type"),
    ("messages that are a number", {"messages": 3}, "wrong type"),
    ("messages as broken JSON", {"messages": '[{"role": "user", "content": "q"}'}, "wrong type"),
    ("messages as Python writes them", {"messages": str([USER, ANSWER])}, "wrong type"),
    ("messages as JSON that repeats a key", {"messages": '[{"role": "user", "role": "tool"}]'}, "wrong type"),
    ("conversations that are an object", {"conversations": {}}, "wrong type"),
    ("one text for a conversation", {"conversations": ["q"]}, "no answer"),
    ("three texts for a conversation", {"conversations": ["q", "a", "q"]}, "no answer"),
    ("texts and turns mixed", turns("q", ANSWER), "wrong type"),
    ("a turn that is null", turns(USER, None), "wrong type"),
    ("a turn that is a number", turns(USER, 3), "wrong type"),
    ("a turn without a role", turns(USER, {"content": "a"}), "unknown role"),
    ("a role of null", turns({"role": None, "content": "q"}, ANSWER), "unknown role"),
    ("a role that is a number", turns({"role": 1, "content": "q"}, ANSWER), "unknown role"),
    ("a role that is a list", turns({"role": ["user"], "content": "q"}, ANSWER), "unknown role"),
    ("a role that is empty", turns({"role": "", "content": "q"}, ANSWER), "unknown role"),
    ("a role that nobody knows", turns({"role": "narrator", "content": "q"}, ANSWER), "unknown role"),
    ("a speaker that nobody knows", talk(("human", "q"), ("alien", "a")), "unknown role"),
    ("only a question", turns(USER), "no answer"),
    ("only a system prompt", turns({"role": "system", "content": "s"}), "no answer"),
    ("only an answer", turns(ANSWER), "roles out of order"),
    ("the user has the last word", turns(USER, ANSWER, USER), "no answer"),
    (
        "a tool has the last word",
        turns(USER, {"role": "assistant", "tool_calls": [ADD]}, {"role": "tool", "content": "3"}),
        "no answer",
    ),
    ("the assistant begins", turns(ANSWER, USER, ANSWER), "roles out of order"),
    ("gpt begins", talk(("gpt", "a"), ("human", "q"), ("gpt", "a")), "roles out of order"),
    ("two questions in a row", turns(USER, USER, ANSWER), "roles out of order"),
    ("two answers in a row", turns(USER, ANSWER, ANSWER), "roles out of order"),
    ("an answer of null", answered(content=None), "no answer"),
    ("an answer without content", answered(), "no answer"),
    ("an answer of null with an empty list of calls", answered(content=None, tool_calls=[]), "no answer"),
    ("an early answer of null", turns(USER, {"role": "assistant", "content": None}, USER, ANSWER), "no answer"),
    ("a question of null", asked(None), "no content"),
    ("a system prompt of null", turns({"role": "system", "content": None}, USER, ANSWER), "no content"),
    ("a question that is a number", asked(5), "wrong type"),
    ("a question that is an object", asked({"text": "q"}), "wrong type"),
    ("an answer that is a number in ShareGPT", talk(("human", "q"), ("gpt", 3)), "wrong type"),
    ("content in a list of texts", asked(["q"]), "wrong type"),
    ("half a surrogate pair in a question", asked("\ud800"), "broken text"),
    ("half a surrogate pair in a part", asked([{"type": "text", "text": "\udfff"}]), "broken text"),
    (
        "half a surrogate pair in JSON in a text",
        {"messages": '[{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "a"}]'},
        "broken text",
    ),
]

PARTS: list[tuple[str, Any, str]] = [
    ("no parts", asked([]), "no content"),
    ("a picture", asked([{"type": "text", "text": "q"}, IMAGE]), "not text"),
    ("a sound", asked([{"type": "input_audio", "input_audio": {"data": ""}}]), "not text"),
    (
        "a picture as a tool's result",
        turns(USER, {"role": "assistant", "tool_calls": [ADD]}, {"role": "tool", "content": [IMAGE]}, ANSWER),
        "not text",
    ),
    ("a part of no type", asked([{"text": "q"}]), "wrong type"),
    ("a text part without a text", asked([{"type": "text"}]), "wrong type"),
    ("a text part with a number", asked([{"type": "text", "text": 3}]), "wrong type"),
    ("a user who thinks", asked([{"type": "thinking", "thinking": "hm"}]), "wrong type"),
    ("a user who calls in a part", asked([{"type": "tool_call", "value": '{"name": "f"}'}]), "wrong type"),
    ("a call part that is no JSON", answered(content=[{"type": "tool_call", "value": "f()"}]), "broken tool call"),
    ("reasoning that is a list", answered(content="a", reasoning=["hm"]), "wrong type"),
    ("reasoning that is an object", answered(content="a", reasoning_content={"text": "hm"}), "wrong type"),
    ("half a surrogate pair in reasoning", answered(content="a", thinking="\ud800"), "broken text"),
]

CALLS: list[tuple[str, Any, str]] = [
    ("arguments cut short", called('{"a": 1'), "broken tool call"),
    ("arguments as Python writes them", called("{'a': None}"), "broken tool call"),
    ("arguments that are a list", called("[1, 2]"), "broken tool call"),
    ("arguments that are a number", called(3), "broken tool call"),
    ("arguments with NaN", called('{"a": NaN}'), "broken tool call"),
    ("arguments with a number without bounds", called('{"a": 1e999}'), "broken tool call"),
    ("arguments that repeat a key", called('{"a": 1, "a": 2}'), "broken tool call"),
    ("arguments nested without end", called(DEEP), "broken tool call"),
    ("arguments of a number of many digits", called('{"a": ' + "9" * 5000 + "}"), "broken tool call"),
    ("half a surrogate pair in arguments", called('{"a": "\\ud800"}'), "broken text"),
    ("half a surrogate pair in an argument's name", called({"\ud800": 1}), "broken text"),
    ("a call without a name", answered(tool_calls=[{"function": {"arguments": "{}"}}]), "broken tool call"),
    ("a call with an empty name", answered(tool_calls=[{"function": {"name": " "}}]), "broken tool call"),
    ("a call whose name is a number", answered(tool_calls=[{"name": 3}]), "broken tool call"),
    ("a call whose id is a number", answered(tool_calls=[{**ADD, "id": 3}]), "broken tool call"),
    ("a call of no function", answered(tool_calls=[{**ADD, "type": "code_interpreter"}]), "broken tool call"),
    ("a call that is null", answered(tool_calls=[None]), "broken tool call"),
    ("calls that are a number", answered(tool_calls=1), "broken tool call"),
    ("calls as broken JSON", answered(tool_calls="[{"), "broken tool call"),
    ("an old call without a name", answered(function_call={"arguments": "{}"}), "broken tool call"),
    ("a call in words where JSON belongs", talk(("human", "q"), ("function_call", "add(1, 2)")), "broken tool call"),
    ("a call turn of null", talk(("human", "q"), ("function_call", None)), "broken tool call"),
    ("a call by the user", turns({**USER, "tool_calls": [ADD]}, ANSWER), "broken tool call"),
    ("a result without a call", turns(USER, {"role": "tool", "content": "3"}, ANSWER), "tool result without a call"),
    (
        "an observation without a call",
        talk(("human", "q"), ("observation", "3"), ("gpt", "a")),
        "tool result without a call",
    ),
    (
        "a result of another call",
        turns(
            USER,
            {"role": "assistant", "tool_calls": [ADD]},
            {"role": "tool", "content": "3", "tool_call_id": "2"},
            ANSWER,
        ),
        "tool result without a call",
    ),
    (
        "a result too late",
        turns(USER, {"role": "assistant", "tool_calls": [ADD]}, USER, {"role": "tool", "content": "3"}, ANSWER),
        "tool result without a call",
    ),
    ("a result before all else", turns({"role": "tool", "content": "3"}, USER, ANSWER), "roles out of order"),
    (
        "a result of null",
        turns(USER, {"role": "assistant", "tool_calls": [ADD]}, {"role": "tool", "content": None}, ANSWER),
        "no content",
    ),
    (
        "a result whose id is a number",
        turns(
            USER,
            {"role": "assistant", "tool_calls": [ADD]},
            {"role": "tool", "content": "3", "tool_call_id": 1},
            ANSWER,
        ),
        "wrong type",
    ),
    ("tools in words", turns(USER, ANSWER, tools="a hammer"), "broken tools"),
    ("tools that are a number", turns(USER, ANSWER, tools=1), "broken tools"),
    ("tools by name only", turns(USER, ANSWER, tools=["hammer"]), "broken tools"),
    ("a tool without a name", turns(USER, ANSWER, tools=[{"type": "function", "function": {}}]), "broken tools"),
    ("a tool that is null", turns(USER, ANSWER, functions=[None]), "broken tools"),
    ("a tool with a number without bounds", turns(USER, ANSWER, tools='[{"name": "f", "x": -1e999}]'), "broken tools"),
    ("half a surrogate pair in a tool", turns(USER, ANSWER, tools=[{"name": "\udead"}]), "broken text"),
]

WEIGHTS: list[tuple[str, Any, str]] = [
    ("a weight below zero", answered(content="a", weight=-0.5), "wrong weight"),
    ("a weight without bounds", answered(content="a", weight=float("inf")), "wrong weight"),
    ("a weight beyond all use", answered(content="a", loss_weight=1e300), "wrong weight"),
    ("a weight in words", answered(content="a", weight="full"), "wrong weight"),
    ("a weight that is true", answered(content="a", weight=True), "wrong weight"),
    ("a weight that is a list", answered(content="a", weight=[1]), "wrong weight"),
    ("train as a number", answered(content="a", train=0), "wrong weight"),
    ("train in words", answered(content="a", train="no"), "wrong weight"),
    ("train against weight", answered(content="a", train=False, weight=1), "wrong weight"),
    ("two weights that differ", answered(content="a", weight=1, loss_weight=0), "wrong weight"),
]

PAIR_MAP = {"prompt": "task", "answer": "solution"}
TURNS_MAP = {"messages": "traj", "quality": "reward"}
MAPPED: list[tuple[str, Any, str, Mapping[str, Any]]] = [
    ("no field of the mapped name", {"task": "t", "answer": "a"}, "no solution", PAIR_MAP),
    ("a mapped field that is null", {"task": None, "solution": "s"}, "no task", PAIR_MAP),
    ("a mapped answer in a list", {"task": "t", "solution": ["s"]}, "wrong type", PAIR_MAP),
    ("a mapped answer without bounds", {"task": "t", "solution": float("-inf")}, "wrong type", PAIR_MAP),
    ("mapped turns that are no JSON", {"traj": "user: q"}, "wrong type", TURNS_MAP),
    ("mapped turns that are missing", {"reward": 1}, "wrong type", TURNS_MAP),
    ("mapped turns without an answer at the end", {"traj": [USER, ANSWER, USER]}, "no answer", TURNS_MAP),
    (
        "mapped turns of which none is an answer",
        {"traj": [USER]},
        "no answer",
        {"messages": "traj", "cut_unanswered": True},
    ),
    ("a score in words", {"traj": [USER, ANSWER], "reward": "good"}, "wrong quality", TURNS_MAP),
    ("a score without bounds", {"traj": [USER, ANSWER], "reward": float("inf")}, "wrong quality", TURNS_MAP),
    ("a score that is a list", {"traj": [USER, ANSWER], "reward": [1]}, "wrong quality", TURNS_MAP),
    (
        "a way into a field that leads nowhere",
        {"task": "t", "solution": "s", "all": []},
        "no all.0.text",
        {"prompt": "task", "answer": "all.0.text"},
    ),
    (
        "a way into a text that is no JSON",
        {"task": "t", "solution": "s", "extra": "{"},
        "wrong type",
        {"prompt": "task", "answer": "extra.text"},
    ),
    (
        "mapped tools in words",
        {"traj": [USER, ANSWER], "tools": "add"},
        "broken tools",
        {"messages": "traj", "tools": "tools"},
    ),
]
MAPPED_SOUND = {
    "task": "t",
    "extra": '{"text": "s"}',
    "solution": "s",
    "all": [{"text": "s"}],
    "traj": [USER, ANSWER],
    "reward": 1,
}

NAMED: list[tuple[str, Any, str, str]] = [
    ("no messages where they are said to be", {"question": "q", "answer": "a"}, "wrong type", "messages"),
    ("no conversations where they are said to be", {"question": "q", "answer": "a"}, "wrong type", "sharegpt"),
    ("no instruction where it is said to be", {"question": "q", "answer": "a"}, "no prompt", "alpaca"),
    ("no question where it is said to be", SOUND, "no prompt", "pairs"),
    ("no chosen answer where it is said to be", SOUND, "no answer", "preference"),
    ("no labelled text where it is said to be", SOUND, "no text", "labelled"),
]
NAMED_SOUND = {
    **SOUND,
    **talk(("human", "q"), ("gpt", "a")),
    **alpaca(),
    "text": "t",
    "label": "l",
    "chosen": [USER, ANSWER],
}

TIME = datetime(2024, 6, 7, tzinfo=UTC)
COLUMNS: list[tuple[str, Any, Any, str]] = [
    ("an answer that is a time", alpaca(), {"question": "q", "answer": TIME}, "wrong type"),
    ("a label that is a time", alpaca(), {"text": "t", "label": TIME}, "wrong type"),
    ("a label that is a decimal", alpaca(), {"text": "t", "label": Decimal("1.5")}, "wrong type"),
    ("a label that is no number", {"text": "t", "label": 1.0}, {"text": "t", "label": float("nan")}, "no label"),
    (
        "a weight that is no number",
        answered(content="a", weight=1.0),
        answered(content="a", weight=float("nan")),
        "wrong weight",
    ),
    ("arguments that JSON has no word for", alpaca(), called({"at": TIME}), "broken tool call"),
]

TABLES: list[tuple[str, str, str]] = [
    ("a field left empty", "question,answer\nq,a\nq,\n", "no answer"),
    ("a question left empty", "question,answer\nq,a\n,a\n", "unknown format"),
    (
        "turns in a field as Python writes them",
        f'messages\n"{json.dumps(SOUND["messages"]).replace(chr(34), chr(34) * 2)}"\n"[{{\'role\': 1}}]"\n',
        "wrong type",
    ),
    ("a label left empty", "text,label\nt,l\nt,\n", "no label"),
]


def _lines(name: str, row: Any, cause: str, sound: Any = SOUND, **settings: Any) -> Case:
    data = f"{json.dumps(sound)}\n{json.dumps(row)}\n".encode()
    return Case(name, "rows.jsonl", data, rejects={cause: 1}, read=2, settings=settings)


def _parquet(name: str, sound: Any, row: Any, cause: str) -> Case:
    written = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict.fromkeys(row) | sound, row]), written)
    return Case(name, "rows.parquet", written.getvalue(), rejects={cause: 1}, read=2)


def _csv(name: str, text: str, cause: str) -> Case:
    return Case(name, "rows.csv", text.encode(), rejects={cause: 1}, read=2)


CASES: list[Case] = [
    *(_lines(*each) for each in [*UNKNOWN, *SINGLE, *TURNS, *PARTS, *CALLS, *WEIGHTS]),
    *(_lines(name, row, cause, MAPPED_SOUND, map=fields) for name, row, cause, fields in MAPPED),
    *(_lines(name, row, cause, NAMED_SOUND, format=kind) for name, row, cause, kind in NAMED),
    *(_parquet(*each) for each in COLUMNS),
    *(_csv(*each) for each in TABLES),
]
