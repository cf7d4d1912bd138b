"""Answers in another form than the prompt asks for, where the request cannot be misread."""

import json
import re
from collections.abc import Callable
from typing import Literal

import polars as pl
from pydantic import field_validator

from tasks.algorithms.refusal import is_refusal
from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict

Form = Literal["json", "list", "code", "yes or no", "one word", "words"]

_END = r"(?:[^A-Za-z0-9]|$)"
_REQUESTS: dict[Form, str] = {
    "json": (
        r"(?:respond|reply|answer|output|return|present|format|represent|write|give|provide|put)[^.\n?!:]{0,60}"
        rf" (?:as|in|with|using) (?:an? |only )?(?:valid |single )?JSON{_END}"
        r"|^(?:please )?(?:generate|create|write|make|produce|give me|output) (?:an? )?(?:valid |sample )?"
        rf"JSON (?:object|string|array|document){_END}"
        r"|into (?:a )?(?:valid )?JSON(?: format| object| string)? ?(?:[.:]|$)"
    ),
    "list": (
        r"^(?:please )?(?:list|name|give|provide|suggest|write|generate|identify|come up with|create|find|describe"
        r"|brainstorm|make|write down)(?: me)?(?: out)?(?: an? (?:numbered |bulleted |bullet )?list of)?"
        r" (?:the )?(?:top )?(?P<number>two|three|four|five|six|seven|eight|nine|ten|[2-9]|1[0-9]|20|25|30|50) "
    ),
    "code": (
        r"^(?:please )?(?:write|create|implement|generate|code|develop)(?: me)? (?:an? |some )?"
        r"(?:simple |basic |short )?(?:python|java|javascript|c\+\+|c#|php|ruby|sql|html|go|rust|swift) "
        rf"(?:[a-z]+ )?(?:function|program|script|code|class|query|method){_END}"
    ),
    "yes or no": (
        r"(?:answer|respond|reply|output|return)(?: (?:only|with|either|just|simply)){0,2}"
        rf" [\"'“]?yes[\"'”]? or [\"'“]?no[\"'”]?{_END}"
    ),
    "one word": r" (?:in|with|using) (?:only |just |exactly )?(?:one|a single|1) word ?(?:[.:?!,]|$)",
    "words": (
        r"(?<!no )(?:under|fewer than|less than|at most|no more than|up to|maximum of|in)"
        r" (?P<limit>[1-9][0-9]{1,3}) words(?: or (?:less|fewer))? ?(?:[.:?!,]|$)"
    ),
}
_SEARCHES = {form: re.compile(request, re.I) for form, request in _REQUESTS.items()}
_MAY_ASK: dict[Form, str] = {
    "json": "json",
    "list": _REQUESTS["list"].replace("?P<number>", "?:"),
    "code": _REQUESTS["code"],
    "yes or no": "yes[\"'”]? or ",
    "one word": r" word[ .:?!,\n]| word$",
    "words": "[0-9] words",
}
"""What each request holds, in Rust's syntax, and cheap to look for."""

_WORDS = "zero one two three four five six seven eight nine ten"
_DIGITS_OF = {word: str(number) for number, word in enumerate(_WORDS.split())}
_MARKS_OF_ITEMS = (".", ")", ":")
_ABOUT_PROGRAMS = re.compile(r"\b(?:script|program|function|code|api|class|query|schema|dictionary|how)\b", re.I)
_FENCED = re.compile(r"```[^\n]*\n(.*?)```", re.S)
_BRACKET = re.compile(r"[\[{]")
_ITEM_NUMBER = re.compile(r"([0-9]{1,2})(?:[.):]\s|\)(?=\w))")
_BULLET = re.compile(r"(?m)^ {0,3}[-*•] ?[^ \n]")
_FEWEST_ITEMS = 2
_CODE = re.compile(r"[(){}=<>;\[\]|$`#]|\bselect\b|:$", re.I | re.M)
_YES_OR_NO = re.compile(r"\W*(?:the answer is:? )?(?:yes|no)\b", re.I)
_MOST_WORDS_OF_ONE = 3
"""An answer of one word may come in a little sentence."""
_MOST_OVER_LIMIT = 1.2
"""People count words in more than one way."""


class Format(Config):
    """Drops rows that ask for JSON, a list of so many, a program, yes or no, or so few words, and get another thing."""

    enabled: bool = True
    """Whether the filter runs."""
    forms: tuple[Form, ...] = ("json", "list", "code", "yes or no", "one word", "words")
    """Which requests are checked."""

    @field_validator("forms")
    @classmethod
    def _some(cls, forms: tuple[Form, ...]) -> tuple[Form, ...]:
        if not forms:
            raise ValueError("forms is empty; name some, or set enabled: false")
        return forms

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows that ask for one of the forms and do not get it."""
        suspected = pl.repeat(value=False, n=len(rows.prompt), dtype=pl.Boolean, eager=True)
        for form in self.forms:
            places = rows.prompt.str.contains(f"(?i){_MAY_ASK[form]}").arg_true()
            if form == "list":
                places = places.filter(_may_list_too_few(rows.prompt.gather(places), rows.answer.gather(places)))
            pairs = zip(places, rows.prompt.gather(places), rows.answer.gather(places), strict=True)
            found = [place for place, prompt, answer in pairs if _fault(form, prompt.split("\n", 1)[0], answer)]
            suspected = suspected.scatter(found, True)
        return suspected

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        # What follows the first line is what the request is about.
        request = row.prompt.split("\n", 1)[0]
        faults = (_fault(form, request, row.answer) for form in self.forms)
        fault = next(filter(None, faults), None)
        # Who declines gives nothing of what was asked for, and is flagged for that.
        return Verdict("not the format asked for", fault) if fault and not is_refusal(row.answer) else None


def _fault(form: Form, request: str, answer: str) -> str | None:
    found = _SEARCHES[form].search(request)
    return _CHECKS[form](found, request, answer) if found else None


def _no_json(_found: re.Match[str], request: str, answer: str) -> str | None:
    if _ABOUT_PROGRAMS.search(request):
        return None
    opened = _BRACKET.search(answer)
    bracketed = answer[opened.start() : max(answer.rfind("]"), answer.rfind("}")) + 1] if opened else ""
    candidates = [*_FENCED.findall(answer), answer, bracketed]
    return None if any(map(_parses, candidates)) else "asks for JSON; the answer holds none that parses"


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _may_list_too_few(prompts: pl.Series, answers: pl.Series) -> pl.Series:
    """Where an answer counts or has bullets, and does not get as far as asked: one prompt in ten asks for a list."""
    asked = prompts.str.extract(f"(?i){_REQUESTS['list']}").str.to_lowercase().replace(_DIGITS_OF)
    both = pl.DataFrame({"answer": answers, "asked": asked})
    reached = (pl.col("answer").str.contains(pl.col("asked") + mark, literal=True) for mark in _MARKS_OF_ITEMS)
    counts = pl.col("answer").str.contains(r"1[.):]")
    bullets = pl.col("answer").str.count_matches(_BULLET.pattern)
    few = bullets < pl.col("asked").cast(pl.Int64)
    return both.select(few & (counts | (bullets >= _FEWEST_ITEMS)) & ~pl.any_horizontal(reached)).to_series()


def _too_few_items(found: re.Match[str], _request: str, answer: str) -> str | None:
    """Counted only where the answer counts, or has bullets: items may as well be lines or parts of a sentence."""
    number = found["number"].lower()
    asked = int(_DIGITS_OF.get(number, number))
    if any(f"{asked}{mark}" in answer for mark in _MARKS_OF_ITEMS):
        return None
    bullets = len(_BULLET.findall(answer))
    numbers = [int(each) for each in _ITEM_NUMBER.findall(answer)] if bullets < asked else []
    if numbers and bullets:
        return None
    items = bullets or (len(numbers) if numbers == list(range(1, len(numbers) + 1)) else 0)
    return f"asks for {asked}; the answer lists {items}" if _FEWEST_ITEMS <= items < asked else None


def _no_code(_found: re.Match[str], _request: str, answer: str) -> str | None:
    return None if _CODE.search(answer) else "asks for a program; the answer holds no code"


def _neither_yes_nor_no(_found: re.Match[str], _request: str, answer: str) -> str | None:
    return None if _YES_OR_NO.match(answer) else "asks for yes or no; the answer begins with neither"


def _more_than_one_word(_found: re.Match[str], _request: str, answer: str) -> str | None:
    words = len(answer.split())
    return f"asks for one word; the answer has {words}" if words > _MOST_WORDS_OF_ONE else None


def _too_many_words(found: re.Match[str], _request: str, answer: str) -> str | None:
    limit, words = int(found["limit"]), len(answer.split())
    return f"asks for at most {limit} words; the answer has {words}" if words > _MOST_OVER_LIMIT * limit + 1 else None


_CHECKS: dict[Form, Callable[[re.Match[str], str, str], str | None]] = {
    "json": _no_json,
    "list": _too_few_items,
    "code": _no_code,
    "yes or no": _neither_yes_nor_no,
    "one word": _more_than_one_word,
    "words": _too_many_words,
}
