"""Answers in another language than the data set is to hold."""

import difflib
import re

import polars as pl
from pydantic import Field, field_validator

from tasks.algorithms.languages import identifier
from tasks.config import Config
from tasks.filters.row import Columns, Reading, Verdict

_NO_LANGUAGE = "zxx"
"""What the identifier calls text that is none."""
_FENCED = re.compile(r"(?s)(?P<fence>```+|~~~+).*?(?:(?P=fence)|$)|`[^`\n]*`|https?://\S+|\$[^$\n]+\$")
_CODE_SIGNS = re.compile(r"[{}<>=;|\\#$\[\]()_/]")
_MOST_CODE_SIGNS = 0.06
"""Share of such characters above which a text is code, markup or formulas."""
_MOST_CHARACTERS = 800
"""More than this of a text does not make the guess better."""
_LANGUAGES = (
    "english french german spanish portuguese italian dutch russian chinese mandarin cantonese japanese korean arabic "
    "hindi bengali urdu turkish polish swedish norwegian danish finnish greek hebrew latin thai vietnamese indonesian "
    "czech hungarian romanian ukrainian catalan basque tagalog swahili persian farsi tamil telugu punjabi esperanto"
)
_ASKS_FOR_A_LANGUAGE = re.compile(rf"\b(?:translat|languages?\b|(?:{'|'.join(_LANGUAGES.split())})\b)", re.I)


class Language(Config):
    """Drops rows whose answer is in a language that is not named; short texts, code and translations are left alone."""

    enabled: bool = True
    """Whether the filter runs."""
    languages: tuple[str, ...] | None = None
    """Languages to keep, by their ISO 639-1 codes, as `en`; all where none is named."""
    min_characters: int = Field(60, ge=1)
    """Answers with fewer, code and addresses apart, are left alone: a guess at them says little."""
    min_probability: float = Field(0.8, gt=0, le=1)
    """How sure the guess must be."""

    @field_validator("languages")
    @classmethod
    def _known(cls, languages: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if languages == ():
            raise ValueError("languages is empty, which would drop every row; name some, or leave it out to keep all")
        for code in languages or ():
            if code not in (known := known_languages()):
                close = difflib.get_close_matches(code.lower()[:2], known, n=3, cutoff=0.5)
                hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
                raise ValueError(f"languages has {code!r}, which is no ISO 639 code that can be told apart; {hint}")
        return languages

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows whose answer is long enough to be judged."""
        if self.languages is None:
            return pl.repeat(value=False, n=len(rows.answer), dtype=pl.Boolean, eager=True)
        return rows.answer.str.len_chars() >= self.min_characters

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        if self.languages is None or _ASKS_FOR_A_LANGUAGE.search(row.prompt):
            return None
        code, probability = language_of(row.answer, self.min_characters) or (_NO_LANGUAGE, 0.0)
        if code in (*self.languages, _NO_LANGUAGE) or probability < self.min_probability:
            return None
        return Verdict("other language", f"{code} with probability {probability:.2f}")


def language_of(text: str, min_characters: int = 60) -> tuple[str, float] | None:
    """The likeliest language of a text as an ISO 639 code, and its probability; none for short texts and code.

    Naive Bayes over byte n-grams (Lui and Baldwin 2012, langid.py; py3langid's model, which lies in the package).
    """
    prose = _FENCED.sub(" ", text[: 4 * _MOST_CHARACTERS]).strip()[:_MOST_CHARACTERS]
    if sum(map(str.isalpha, prose)) < min_characters / 2 or len(prose) < min_characters:
        return None
    if len(_CODE_SIGNS.findall(prose)) > _MOST_CODE_SIGNS * len(prose):
        return None
    found: tuple[str, float] = identifier().classify(prose)
    return found


def known_languages() -> list[str]:
    """The codes that can be told apart, sorted."""
    return sorted(set(identifier().labels) - {_NO_LANGUAGE})
