"""ShareGPT rows: `conversations`, each turn with `from` and `value`; LIMA's are bare texts that take turns."""

from collections.abc import Collection

from tasks.formats.calls import read_tools
from tasks.formats.checks import conversation
from tasks.formats.row import Conversation, Row, has, opened
from tasks.formats.turns import read_turns

NAME = "sharegpt"


def recognises(fields: Collection[str]) -> bool:
    """True for a row with `conversations`, or `conversation`."""
    return has(fields, "conversations", "conversation")


def read(row: Row) -> Conversation:
    """The turns with their speakers' roles, after the row's `system` field where there is one."""
    field = "conversation" if row.get("conversations") is None and "conversation" in row else "conversations"
    return conversation(opened(row, read_turns(row.get(field), field)), read_tools(row))
