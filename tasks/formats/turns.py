"""Turns in their several spellings: `role` and `content`, `from` and `value`, or bare texts that take turns."""

import struct
from functools import lru_cache
from itertools import chain, cycle
from typing import Any

from tasks.conversation import Message
from tasks.formats.calls import read_calls, write_calls
from tasks.formats.content import read_content
from tasks.formats.json_text import parse
from tasks.formats.row import RowError, first_set, quoted

SPEAKERS = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "tool": "tool",
    "observation": "tool",
    "function": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
CALLERS = ("function_call", "tool_call", "tool_calls")
"""Speakers whose words are the assistant's calls, as JSON."""
REASONING = ("reasoning_content", "reasoning", "thinking")
GREATEST_WEIGHT = 1e6


def read_turns(value: Any, what: str) -> list[Message]:
    """The turns in a field: a list, or one as JSON text; a list of lists (rounds, pairs) is read through."""
    if isinstance(value, str):
        value = parse(value, what, "wrong type")
    if not isinstance(value, list) or not value:
        kind = "empty" if value == [] else type(value).__name__
        raise RowError("wrong type", f"{what} is {kind}, not a list of turns")
    if all(isinstance(each, list) for each in value):
        value = list(chain.from_iterable(value))
    if all(isinstance(each, str) for each in value):
        return [
            {"role": role, "content": text} for role, text in zip(cycle(("user", "assistant")), value, strict=False)
        ]
    turns: list[Message] = []
    for each in value:
        turn = read_turn(each)
        if turns and turn.get("tool_calls") and _speaker(each) in CALLERS and (joined := _calls_on(turns[-1], turn)):
            turns[-1] = joined
        else:
            turns.append(turn)
    return turns


def read_turn(turn: Any) -> Message:
    """One turn, whoever speaks."""
    if not isinstance(turn, dict):
        raise RowError("wrong type", f"a turn is {type(turn).__name__}, not an object")
    role, value = _speaker(turn), first_set(turn, "content", "value")
    if role in CALLERS:
        return _weighted({"role": "assistant", "content": "", "tool_calls": write_calls(read_calls(value))}, turn)
    if role not in SPEAKERS:
        raise RowError("unknown role", quoted(first_set(turn, "role", "from")))
    if SPEAKERS[role] == "assistant":
        return _weighted(_answer(turn, value), turn)
    if turn.get("tool_calls") or turn.get("function_call"):
        raise RowError("broken tool call", f"the {role}'s turn holds a call; only the assistant calls tools")
    return _other(turn, SPEAKERS[role], value)


def _speaker(turn: Any) -> str:
    speaker = first_set(turn, "role", "from")
    return _plain(speaker) if isinstance(speaker, str) else ""


@lru_cache(maxsize=256)
def _plain(speaker: str) -> str:
    return speaker.strip().lower().replace("-", "_")


def _answer(turn: dict[str, Any], value: Any) -> Message:
    content = read_content(value, "assistant")
    calls = [*content.calls]
    for name in ("tool_calls", "function_call"):
        calls += read_calls(turn[name]) if turn.get(name) else []
    reasoning = first_set(turn, *REASONING) or content.reasoning
    if not isinstance(reasoning, str | None):
        raise RowError("wrong type", f"the reasoning is {type(reasoning).__name__}, not text")
    if content.text is None and not calls and not reasoning:
        raise RowError("no answer", "the assistant's turn has neither content nor a tool call")
    said: Message = {"role": "assistant", "content": content.text or ""}
    if reasoning:
        said["reasoning"] = reasoning
    if calls:
        said["tool_calls"] = write_calls(calls)
    return said


def _other(turn: dict[str, Any], role: str, value: Any) -> Message:
    content = read_content(value, role)
    if content.reasoning or content.calls:
        raise RowError("wrong type", f"the {role}'s content holds reasoning or calls; only the assistant's may")
    if content.text is None:
        raise RowError("no content", f"the {role}'s turn has no content")
    said: Message = {"role": role, "content": content.text}
    if role == "tool":
        if identity := _label(turn, "tool_call_id"):
            said["tool_call_id"] = identity
        if name := _label(turn, "name"):
            said["name"] = name
    return said


def _label(turn: dict[str, Any], name: str) -> str | None:
    value = turn.get(name)
    if not isinstance(value, str | None):
        raise RowError("wrong type", f"the tool's {name} is {type(value).__name__}, not text")
    return value


def _weighted(said: Message, turn: dict[str, Any]) -> Message:
    """The turn with its weight in the loss; 1, the usual one, is not written."""
    given = [weight for name in ("weight", "loss_weight") if (weight := turn.get(name)) is not None]
    for weight in given:
        if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 <= weight <= GREATEST_WEIGHT:
            raise RowError("wrong weight", f"{quoted(weight)}; a weight is a number from 0 to {GREATEST_WEIGHT:,.0f}")
    trained = turn.get("train")
    if not isinstance(trained, bool | None):
        raise RowError("wrong weight", f"train is {quoted(trained)}, neither true nor false")
    if trained is False or (trained and not given):
        given.append(int(trained))
    if len(set(given)) > 1:
        raise RowError("wrong weight", f"a turn has the weights {', '.join(map(str, given))}; give one")
    if given and given[0] != 1:
        # Rounded as it will be stored, so that the content id is the same before and after.
        (said["weight"],) = struct.unpack("f", struct.pack("f", given[0]))
    return said


def _calls_on(before: Message, calls: Message) -> Message | None:
    """The assistant's turn with the calls that stand in a turn of their own behind it."""
    if before["role"] != "assistant" or before.get("weight") != calls.get("weight"):
        return None
    both = [call for turn in (before, calls) if turn.get("tool_calls") for call in read_calls(turn["tool_calls"])]
    return {**before, "tool_calls": write_calls(both)}
