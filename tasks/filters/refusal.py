"""Answers that decline. Flagged, never dropped: a mixture needs some, and people need to know how many."""

import polars as pl

from tasks.algorithms.refusal import DECLINES, FOR, JUDGES, OPENING_CHARACTERS, TO_HEAR, is_refusal
from tasks.filters.row import SPACE, SPACES

_STEMS = (
    "sorry afraid unable not n't n’t apolog refuse decline strongly must never illegal unethical immoral wrong harmful "
    "inethical inappropriate inacceptable inlegal inok inright insafe inrespectful inmorally inaccurate İ ı ſ \u212a"
)
"""Each refusal holds one of these, or a letter that Python takes for an i, an s or a k."""
_MAY_DECLINE = "(?ix)" + f"{DECLINES}|{JUDGES}|(?-i:[İıſ\u212a])".replace(TO_HEAR, "").replace(FOR, "").replace(
    r"\b[\w\s,]{0,60}\b", ".*"
).replace("'", "['’]").replace(r"\s", SPACE)
"""The patterns without what Rust's syntax lacks: their exceptions."""


def refusals(answers: pl.Series) -> pl.Series:
    """`is_refusal` of whole columns."""
    opening = answers.str.strip_chars_start(SPACES).str.head(OPENING_CHARACTERS)
    found = opening.str.contains_any(_STEMS.split(), ascii_case_insensitive=True)
    places = found.arg_true()
    found = found.scatter(places, opening.gather(places).str.contains(_MAY_DECLINE))
    places = found.arg_true()
    return found.scatter(places, pl.Series(map(is_refusal, answers.gather(places)), dtype=pl.Boolean))
