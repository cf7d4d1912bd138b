"""How an answer begins and ends, what stands in it twice, and what nowhere."""

from tasks.algorithms.constraints.keywords import Word

_QUOTES = ('""', "“”")
_DIVIDER = "******"
_COMMAS = ",，،、"


def end_checker(text: str, *, end_phrase: Word) -> bool:
    """The answer ends with a phrase, in either case; a quotation mark may follow."""
    return text.strip().strip('"').rstrip().lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    """The whole answer stands in double quotation marks."""
    inner = text.strip()
    return len(inner) > 1 and inner[0] + inner[-1] in _QUOTES


def repeat_prompt(text: str, *, prompt_to_repeat: Word) -> bool:
    """The answer begins with the request, word for word."""
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def two_responses(text: str) -> bool:
    """There are two different answers, divided by `******`."""
    parts = [part.strip() for part in text.split(_DIVIDER)]
    # A divider before the first or behind the second divides nothing.
    answers = [part for place, part in enumerate(parts) if part or place not in (0, len(parts) - 1)]
    return all(answers) and len(answers) == 2 and answers[0] != answers[1]


def no_comma(text: str) -> bool:
    """There is no comma, of any script."""
    return not any(comma in text for comma in _COMMAS)
