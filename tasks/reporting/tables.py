"""Markdown that holds any text safely: tables, cells and code blocks."""

import re
from collections.abc import Mapping, Sequence

from tasks.reporting import wording

_MARKUP = re.compile(r"([\\`*_\[\]~$#])")
_AUTOLINK = re.compile(r"(?i)(?<=http:)(?=//)|(?<=https:)(?=//)|(?<=ftp:)(?=//)|(?<=www)(?=\.)")
_BLOCK_START = re.compile(r"^([#+=:-]|\d+(?=[.)]))")


def escape_markdown(text: str) -> str:
    """One line of Markdown that shows the text as it is: no markup, no HTML, no link, no new line."""
    plain = _AUTOLINK.sub(r"\\", _MARKUP.sub(r"\\\1", " ".join(text.split())))
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")


def paragraph(text: str) -> str:
    """`escape_markdown` for the start of a line, where a dash or a number would open a list."""
    return _BLOCK_START.sub(lambda found: f"&#{ord(found[0][0])};{found[0][1:]}", escape_markdown(text))


def code_block(text: str, language: str = "") -> str:
    """A fenced block whose fence is longer than any run of backticks within."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def markdown_table(rows: Sequence[Mapping[str, object]]) -> str:
    """A table with a column for every key, in order of appearance; columns of numbers are set right."""
    if not rows:
        return "*No rows.*"
    columns = list(dict.fromkeys(key for row in rows for key in row))
    rule = ["--:" if _is_numeric([row.get(column) for row in rows]) else ":--" for column in columns]
    body = [[_cell(row.get(column)) for column in columns] for row in rows]
    lines = [[escape_markdown(column) or " " for column in columns], rule, *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _is_numeric(cells: Sequence[object]) -> bool:
    given = [cell for cell in cells if cell is not None]
    return bool(given) and all(isinstance(cell, int | float) and not isinstance(cell, bool) for cell in given)


def _cell(cell: object) -> str:
    return "" if cell is None else escape_markdown(wording.value(cell))
