"""Plain texts to go on pretraining with: the model writes all of it, and nobody asks.

Only where a recipe names the format: a text alone is as often a labelled row that has lost its label. Wants a chat
template that writes contents and their end alone, as the preset `continued-pretraining` has.
"""

from collections.abc import Collection

from tasks.formats.checks import require_unicode
from tasks.formats.row import Conversation, Row, assistant, text_field

NAME = "text"
TEXTS = ("text", "content", "document")


def recognises(fields: Collection[str]) -> bool:
    """Never: the recipe must say so."""
    del fields
    return False


def read(row: Row) -> Conversation:
    """The text as one turn of the assistant's, without a question before it."""
    messages = [assistant(text_field(row, *TEXTS, missing="no text"))]
    require_unicode(messages, None)
    return Conversation(messages)
