"""Which turns can be trained on, in which order."""

import json
from collections.abc import Sequence
from itertools import pairwise

from tasks.conversation import Message
from tasks.formats.row import Conversation, RowError


def conversation(messages: list[Message], tools: str | None = None, quality: float | None = None) -> Conversation:
    """The conversation, if it can be trained on: a user turn before the answer, an answer at the end.

    Two turns in a row are neither both the user's nor both the assistant's, and a tool's turn follows a call.
    """
    turns = [message for message in messages if message["role"] != "system"]
    roles = [message["role"] for message in turns]
    if "assistant" not in roles:
        raise RowError("no answer", "no assistant turn")
    if roles[0] != "user":
        raise RowError("roles out of order", f"the first turn is the {roles[0]}'s")
    if roles[-1] != "assistant":
        raise RowError("no answer", f"the last turn is the {roles[-1]}'s")
    for before, after in pairwise(roles):
        if before == after and before in ("user", "assistant"):
            raise RowError("roles out of order", f"two {before} turns in a row")
    if "tool" in roles:
        _require_calls(turns)
    require_unicode(messages, tools)
    return Conversation(messages, tools, quality)


def _require_calls(turns: Sequence[Message]) -> None:
    """Refuse a tool's turn that answers no call of the assistant's turn before it.

    Some sets write calls into the assistant's words, each in its own way: where no turn has calls, any may be one.
    """
    written = not any(turn.get("tool_calls") for turn in turns)
    calls: list[dict[str, str]] = []
    for before, turn in pairwise(turns):
        if turn["role"] != "tool":
            continue
        if before["role"] != "tool":
            calls = json.loads(before.get("tool_calls") or "[]")
        if before["role"] == "user" or not (calls or written):
            raise RowError("tool result without a call", f"the {before['role']}'s turn before it calls no tool")
        known = {call["id"] for call in calls if "id" in call}
        if known and (answered := turn.get("tool_call_id")) and answered not in known:
            raise RowError("tool result without a call", f"the turn before it makes no call {answered!r}")


def require_unicode(messages: Sequence[Message], tools: str | None) -> None:
    """Refuse texts that cannot be written as UTF-8."""
    for message in messages:
        for field, value in message.items():
            if isinstance(value, str) and not value.isascii():
                _require_encodable(value, f"the {message['role']}'s {field}")
    if tools:
        _require_encodable(tools, "tools")


def _require_encodable(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RowError("broken text", f"{what}: a lone surrogate at character {error.start}") from None
