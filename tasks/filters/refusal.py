"""Answers that decline. Flagged, never dropped: a mixture needs some, and people need to know how many."""

import re

import polars as pl

from tasks.filters.row import SPACE, SPACES

_TO_HEAR = r"(?!,?\s+(?:to\s+hear|for\s+(?:your|the\s+(?:loss|trouble))|about|that\s+you))"
_FOR = r"(?!\s+for)"
_DECLINES = rf"""
  i(?:\s+am|'m)\s+(?:(?:very|so|really|truly|terribly)\s+)?
  (?:sorry{_TO_HEAR}|afraid|unable|not\s+(?:able|allowed|permitted))
| i\s+apologi[sz]e{_FOR} | my\s+apologies{_FOR}
| i\s+(?:can(?:not|'t|\s+not)|could\s+not|won't|will\s+not|must\s+(?:decline|refuse)|refuse\s+to)
| i\s+(?:do\s+not|don't|cannot|strongly)\s+
  (?:feel\s+comfortable|condone|condemn|support|encourage|promote|endorse|have\s+the\s+(?:capability|ability)
  |think\s+it(?:'s|\s+is)\s+(?:appropriate|ethical|right))
| i\s+must\s+(?:emphasi[sz]e|clarify|remind\s+you|stress)
| an?\s+ai\b[\w\s,]{{0,60}}\b(?:not|cannot|can't|don't)\s+
  (?:condone|provide|assist|help|support|encourage|promote|engage|able|create|generate|answer|recommend|endorse)
"""
_JUDGES = r"""
  (?:it(?:\s+is|'s|\s+would\s+be)|that(?:\s+is|'s))\s+(?:(?:absolutely|generally|highly)\s+)?(?:not\s+|never\s+|in)
  (?:ethical|appropriate|acceptable|legal|okay|ok|right|safe|respectful|morally|accurate\s+or)
| it(?:\s+is|'s|\s+would\s+be)\s+(?:both\s+)?(?:illegal|unethical|immoral|wrong|harmful)
"""
_OPENS = r"(?:^|[.!?,;:]\s+|\b(?:but|however|and|so|therefore|i\s+am|as)\s+)(?:unfortunately,?\s+)?"
_REFUSAL = re.compile(rf"{_OPENS}(?:{_DECLINES}|{_JUDGES})\b", re.IGNORECASE | re.VERBOSE)
_STEMS = (
    "sorry afraid unable not n't n’t apolog refuse decline strongly must never illegal unethical immoral wrong harmful "
    "inethical inappropriate inacceptable inlegal inok inright insafe inrespectful inmorally inaccurate İ ı ſ \u212a"
)
"""Each refusal holds one of these, or a letter that Python takes for an i, an s or a k."""
_MAY_DECLINE = "(?ix)" + f"{_DECLINES}|{_JUDGES}|(?-i:[İıſ\u212a])".replace(_TO_HEAR, "").replace(_FOR, "").replace(
    r"\b[\w\s,]{0,60}\b", ".*"
).replace("'", "['’]").replace(r"\s", SPACE)
"""The patterns without what Rust's syntax lacks: their exceptions."""
_QUOTED_SPEECH = re.compile(r"^\W*(?:dear\b|[A-Z][\w' ]{0,30}:)")
"""Letters and dialogues, in which somebody else is sorry."""
_OPENING_CHARACTERS = 200


def is_refusal(answer: str) -> bool:
    """True where the opening of an answer (200 characters of its first line) declines the request.

    Measured on XSTest's human labels, 983 full refusals against 1,091 full compliances.
    """
    opening = answer.strip()[:_OPENING_CHARACTERS].split("\n")[0].replace("’", "'")
    return not _QUOTED_SPEECH.match(opening) and _REFUSAL.search(opening) is not None


def refusals(answers: pl.Series) -> pl.Series:
    """`is_refusal` of whole columns."""
    opening = answers.str.strip_chars_start(SPACES).str.head(_OPENING_CHARACTERS)
    found = opening.str.contains_any(_STEMS.split(), ascii_case_insensitive=True)
    places = found.arg_true()
    found = found.scatter(places, opening.gather(places).str.contains(_MAY_DECLINE))
    places = found.arg_true()
    return found.scatter(places, pl.Series(map(is_refusal, answers.gather(places)), dtype=pl.Boolean))
