"""OpenAI chat rows: `messages`, each with a `role` and its `content`; the row's `tools`."""

from collections.abc import Collection

from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.row import Conversation, Row, opened, require_wanted
from tasks.formats.turns import read_turns

NAME = "messages"


def recognises(fields: Collection[str]) -> bool:
    """True for a row with `messages`."""
    return "messages" in fields


def read(row: Row) -> Conversation:
    """The messages with their calls, reasoning and weights, after the row's `system` field where there is one."""
    require_wanted(row)
    return conversation(opened(row, read_turns(row.get("messages"), "messages")), read_tools(row))
