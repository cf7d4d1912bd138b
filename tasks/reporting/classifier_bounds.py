"""No text of a data set may fill a page: how much of texts and of labels is shown."""

from collections.abc import Sequence
from typing import Any

from tasks.reporting.classifier_facts import ClassifierFacts

MOST_CHARACTERS = 2000
"""Most of one text."""
MOST_OF_A_NAME = 80
"""Most of a label's or a source's name."""
_MOST_NAMES = 6
_WHOLE = frozenset({"recipe", "command"})


def bounded(facts: ClassifierFacts) -> ClassifierFacts:
    """The same facts with every text cut that is too long to read, but for the recipe and the command."""
    return ClassifierFacts.model_validate(_bounded(facts.model_dump()))


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return cut(value)
    if isinstance(value, list | tuple):
        return [_bounded(item) for item in value]
    if isinstance(value, dict):
        return {cut(key): item if key in _WHOLE else _bounded(item) for key, item in value.items()}
    return value


def cut(text: str) -> str:
    """The text up to a bound, and how much is missing."""
    hidden = len(text) - MOST_CHARACTERS
    return text if hidden <= 0 else f"{text[:MOST_CHARACTERS]} … ({hidden:,} more characters)"


def named(name: str) -> str:
    """A name in one line of bounded length; one that nobody could see is told."""
    line = " ".join(name.split())
    return f"{line[: MOST_OF_A_NAME - 1]}…" if len(line) > MOST_OF_A_NAME else line or "(empty)"


def listed(labels: Sequence[str]) -> str:
    """The labels of one row: billing, refund; none; of very many the first."""
    told = [named(label) for label in labels[:_MOST_NAMES]]
    more = len(labels) - len(told)
    return ", ".join(told) + (f" and {more:,} more" if more else "") if told else "none"
