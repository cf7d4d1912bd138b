"""Labelled texts: the text is what the user says, its label the answer."""

from collections.abc import Collection
from typing import Any

from tasks.formats.checks import conversation
from tasks.formats.row import (
    Conversation,
    Row,
    RowError,
    as_text,
    assistant,
    first_set,
    has,
    quoted,
    system_turn,
    text_field,
    user,
)

NAME = "labelled"
TEXTS = ("sentence", "query", "text")
TEXT_PAIRS = (("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"), ("text1", "text2"))
LABELS = ("label_text", "label_name", "label", "category", "gold", "intent", "sentiment", "topic")


def recognises(fields: Collection[str]) -> bool:
    """True for a row with a text, or a pair of them, and a label; not where it asks for something else as well."""
    texts = has(fields, *TEXTS) or any(_is_pair(fields, pair) for pair in TEXT_PAIRS)
    return texts and has(fields, *LABELS) and not has(fields, "instruction", "question", "prompt")


def read(row: Row) -> Conversation:
    """The text and its label; a number picks one of the row's `choices`, where it has them."""
    pair = next((pair for pair in TEXT_PAIRS if _is_pair(row, pair)), None)
    text = (
        "\n\n".join(text_field(row, name, missing="no text") for name in pair)
        if pair
        else text_field(row, *TEXTS, missing="no text")
    )
    label = first_set(row, *LABELS)
    if isinstance(row.get("choices"), list) and not isinstance(label, str):
        label = _choice(row["choices"], label)
    answer = as_text(label, "the label")
    if not answer:
        raise RowError("no label", "the label is not set")
    return conversation([*system_turn(row), user(text), assistant(answer)])


def _choice(choices: list[Any], label: Any) -> Any:
    if label is None:
        return None
    if not isinstance(label, int) or not 0 <= label < len(choices):
        raise RowError("unknown label", f"{quoted(label)} is the place of none of the {len(choices)} choices")
    return choices[label]


def _is_pair(fields: Collection[str], names: tuple[str, str]) -> bool:
    return all(name in fields for name in names)
