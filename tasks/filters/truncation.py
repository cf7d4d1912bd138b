"""Answers that stop in the middle."""

import re

import polars as pl

from tasks.config import Config
from tasks.filters.row import SPACE, Columns, Reading, Verdict

_LAST_WORDS = (
    "a an the of to and or nor but for with in on at by from as is are was were than because if while which whose such "
    "your our their its my will would can could should may might must into between during per each every either"
)
_OTHER_WORDS = "this that it you i we they he she be not no do does has have within under over"
_DANGLING = frozenset(_LAST_WORDS.split())
"""Words that hardly ever end an English sentence."""
_ENGLISH = _DANGLING | frozenset(_OTHER_WORDS.split())
_UNMISTAKABLE = "the of with from and would could should their your which whose because than between"
_ONLY_ENGLISH = frozenset(_UNMISTAKABLE.split())
"""Those of them that are no words of another common language."""
_OPEN_ENDS = (",", "(", "[", "{", "–", "—", " -")
_SENTENCE_END = re.compile(r"[.!?…:;。！？][\"'”’)\]]*\s+")
_LINE_END = re.compile(r"[.!?…:;,。！？，：][\"'”’)\]*_]*$")
_LIST_ITEM = re.compile(r"^([-*•+>|#–]|\d+[.):]|[A-Za-z][.)])")
_GREETING = re.compile(r"^(dear|hi|hello|hey|to whom)\b", re.I)
_CODE_SIGN = re.compile(r"[{};=<>|\\]")
_CODE_LINE = re.compile(
    r"\n(?:#!|\s*(?:def|class|import|from|return|for|if|while|let|const|var|function|SELECT|public)\b)"
)
_FENCES = re.compile(r"`{3,}|~{3,}")
_FENCE_LINE = re.compile(r"^[ \t>]*(`{3,}|~{3,})([^`\s]*)[ \t]*$", re.M)
_ENDS_OPEN = rf"(?:[,(\[{{–—]| -|(?:^|{SPACE})(?i:{'|'.join(sorted(_DANGLING))})){SPACE}*\z"
_ENDS_IN_WORD = rf"[\p{{L}}\p{{N}}]{SPACE}*\z"
_ENDS_WITHOUT_MARK = (
    rf"(?:^|[\n\r\x0b\x0c\x1c-\x1e\x85\u{{2028}}\u{{2029}}]){SPACE}*"
    r"(?:(?:[^\s0-9A-Za-z*•+>|#–-]|[A-Za-z][^.)]|[0-9]+[^0-9.):])[^\n]*)?"
    rf"[.!?…:;。！？][\"'”’)\]]*{SPACE}[^\n]*[\p{{L}}\p{{N}}]{SPACE}*\z"
)
"""In Rust's syntax. They are read from the end; the first two are settled after a few characters."""
_MIN_LAST_LINE_WORDS = 4
_MOST_GREETING_WORDS = 7
_VERSE_WORDS = 12
"""Lines up to this long that follow a line without a mark are verse, titles or tables, whose lines have no ends."""


class Truncation(Config):
    """Drops rows whose answer was cut: an open code fence, a dangling comma or word."""

    enabled: bool = True
    """Whether the filter runs."""
    missing_end: bool = False
    """Also drop prose whose last sentence has no end mark. People leave it out: in real sets few such rows are cut."""

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows whose answer ends like one that was cut, or has an odd number of code fences."""
        return self._may_be_cut(rows.answer)

    def _may_be_cut(self, answers: pl.Series) -> pl.Series:
        found = answers.str.contains(_ENDS_OPEN) | (answers.str.count_matches(_FENCES.pattern) % 2 == 1)
        if not self.missing_end:
            return found
        places = answers.str.contains(_ENDS_IN_WORD).arg_true()
        return found.scatter(places, found.gather(places) | answers.gather(places).str.contains(_ENDS_WITHOUT_MARK))

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop."""
        answer = row.answer.rstrip()
        how = self.how_cut(answer) if answer else None
        return Verdict("truncated", f"{how}: …{answer[-60:]}") if how else None

    def cut_short(self, answers: pl.Series) -> pl.Series:
        """Which answers stop in the middle, or are prose whose last sentence has no end mark."""
        strict = Truncation(missing_end=True)
        found = strict._may_be_cut(answers)
        places = found.arg_true()
        cut = [strict.how_cut(answer.rstrip()) is not None for answer in answers.gather(places)]
        return found.scatter(places, pl.Series(cut, dtype=pl.Boolean))

    def how_cut(self, answer: str) -> str | None:
        """How an answer was cut, or none where it looks whole."""
        if _ends_in_open_fence(answer):
            return "open code fence"
        if _holds_code(answer):
            return None
        *before, last = [line.strip() for line in answer.splitlines() if line.strip()]
        if not _is_prose(last, before):
            return None
        if answer.endswith(_OPEN_ENDS):
            return None if _is_greeting(last) else "dangling punctuation"
        if _dangles(last, answer):
            return "dangling word"
        return "prose without an end" if self.missing_end and _lacks_end(last) else None


def _ends_in_open_fence(answer: str) -> bool:
    """Both by count and by line: three backticks also stand within lines, and fences hold longer or shorter ones."""
    if len(_FENCES.findall(answer)) % 2 == 0:
        return False
    opened = ""
    for line in _FENCE_LINE.finditer(answer):
        marks, rest = line.groups()
        if not opened:
            opened = marks
        elif marks.startswith(opened) and not rest:
            opened = ""
    return bool(opened)


def _holds_code(answer: str) -> bool:
    if "```" in answer or "~~~" in answer or _CODE_SIGN.search(answer):
        return True
    return _CODE_LINE.search(f"\n{answer}") is not None


def _is_prose(last: str, before: list[str]) -> bool:
    """Whether a last line can be judged at all: labels, list items, signatures and verse end as they like."""
    found = last.split()
    if len(found) < _MIN_LAST_LINE_WORDS or _LIST_ITEM.match(last):
        return False
    return not before or len(found) > _VERSE_WORDS or _LINE_END.search(before[-1]) is not None


def _is_greeting(last: str) -> bool:
    return _GREETING.match(last) is not None and len(last.split()) <= _MOST_GREETING_WORDS


def _dangles(last: str, answer: str) -> bool:
    if last.rsplit(maxsplit=1)[-1].lower() not in _DANGLING:
        return False
    *_, sentence = _SENTENCE_END.split(last)
    *others, word = sentence.split()
    # "Company A", "AND": capitals make a name of a word, unless it opens its sentence.
    if (others and not word.islower()) or not last[0].isupper():
        return False
    # "Ich rufe dich an" ends as it should; the words are English ones. Some are of no other language.
    return word.lower() in _ONLY_ENGLISH or any(other.lower().strip(".,") in _ENGLISH for other in answer.split()[:-1])


def _lacks_end(last: str) -> bool:
    return last[-1].isalnum() and _SENTENCE_END.search(last) is not None
