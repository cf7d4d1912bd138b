"""The form of an answer: lists, highlights, sections, JSON, titles, placeholders, a postscript."""

import json
import re

from tasks.algorithms.constraints.counting import Count
from tasks.algorithms.constraints.keywords import Word

_BULLET = re.compile(r"^[ \t]*[*-][ \t]+(?![*\s-]*$)\S", re.MULTILINE)
_HIGHLIGHT = re.compile(r"\*\*[^*\n]+\*\*|\*[^*\n]+\*")
_PLACEHOLDER = re.compile(r"\[[^\[\]\n]*[^\[\]\s][^\[\]\n]*\]")
_TITLE = re.compile(r"<<([^\n]+)>>")
_FENCED = re.compile(r"```[A-Za-z0-9]*\s*(.*?)\s*```", re.DOTALL)
_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def number_bullet_lists(text: str, *, num_bullets: Count) -> bool:
    """There are exactly so many bullet points, as Markdown writes them: a line with `*` or `-`, a space and a text."""
    return len(_BULLET.findall(text)) == num_bullets


def number_highlighted_sections(text: str, *, num_highlights: Count) -> bool:
    """At least so many parts are highlighted, `*so*` or `**so**`."""
    return sum(bool(part.strip("*").strip()) for part in _HIGHLIGHT.findall(text)) >= num_highlights


def multiple_sections(text: str, *, section_spliter: Word, num_sections: Count) -> bool:
    """At least so many sections begin with the splitter and a number, "Section 1"."""
    return len(re.findall(rf"{re.escape(section_spliter.strip())}\s?\d+", text)) >= num_sections


def json_format(text: str) -> bool:
    """The whole answer is JSON, in a code fence or not."""
    fenced = _FENCED.fullmatch(text.strip())
    try:
        json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    """There is a title in double angular brackets, <<so>>."""
    return any(found.strip("<> \t") for found in _TITLE.findall(text))


def constrained_response(text: str) -> bool:
    """One of the three answers that the prompt offers is there."""
    return any(option in text for option in _OPTIONS)


def number_placeholders(text: str, *, num_placeholders: Count) -> bool:
    """At least so many placeholders stand in square brackets, [so]."""
    return len(_PLACEHOLDER.findall(text)) >= num_placeholders


def postscript(text: str, *, postscript_marker: Word) -> bool:
    """There is a postscript with its marker, "P.S." or "P.P.S", in either case and with spaces or not."""
    letters = [re.escape(part) for part in postscript_marker.strip().lower().split(".")]
    return re.search(r"(?<!\w)" + r"\.\s?".join(letters), text.lower()) is not None
