"""What can be told from a generated answer without a judge."""

import re

_APOLOGY = re.compile(
    r"\b(sorry|apolog(?:y|ies|i[sz]e[sd]?|i[sz]ing)|unfortunately|regret(?:s|fully|tably)?|forgive me)\b", re.I
)


def apologises(text: str) -> bool:
    """True where an answer says sorry."""
    return _APOLOGY.search(text) is not None


def holds_answer(text: str, answer: str) -> bool:
    """True where a text holds the answer as a whole figure or phrase.

    `$4` is not in `$4.50`, nor `12` in `312`, `-12`, `1,200` or `12 %`.
    """
    pattern = re.escape(" ".join(answer.casefold().split()))
    before = r"(?<![\w.,])(?<!\s-)(?<!^-)" if answer[:1].isalnum() else r"(?<!\w)"
    return re.search(rf"{before}{pattern}(?!\w|\s?%|[.,]\d)", " ".join(text.casefold().split())) is not None
