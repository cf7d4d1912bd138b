"""The audit of a run's sources: small tables for people, and what of them the report shows."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tasks.algorithms.audit import SourceAudit, duplicates
from tasks.algorithms.languages import language_shares
from tasks.algorithms.lengths import Band, bands, quantiles
from tasks.reporting.source_facts import AuditFacts, CharacterBand, LengthFacts, ShareFacts

MOST_FIELDS, MOST_LANGUAGES, MOST_LABELS_DRAWN = 5, 4, 40

_HEIGHTS = "▁▂▃▄▅▆▇█"
_EIGHTHS = "▏▎▍▌▋▊▉█"
CONTENTS = {
    "several_turns": "of several turns",
    "with_system": "with a system prompt",
    "with_tools": "with tools",
    "refusals": "refusals",
    "template_leftovers": "with template leftovers",
    "empty_answers": "with empty answers",
}
"""Shares of rows that are told of each source, and how the report calls them."""
Rows = list[dict[str, Any]]


def audit_tables(audits: Sequence[SourceAudit]) -> dict[str, Any]:
    """The facts of an audit: lists are tables for the UI, a row a source or several; all shares are ratios 0–1."""
    tables = {
        "audit": _fates(audits),
        "audit: contents": [_contents(audit) for audit in audits if audit.rows],
        "audit: lengths in characters": [row for audit in audits if audit.rows for row in _lengths(audit)],
        "audit: languages": [row for audit in audits for row in _languages(audit)],
        "audit: missing fields": [row for audit in audits for row in _missing_fields(audit)],
        "audit: labels": [row for audit in audits for row in _labels(audit)],
    }
    shown: dict[str, Any] = {name: rows for name, rows in tables.items() if rows}
    return shown | {"length_bands": {audit.source: _length_bands(audit) for audit in audits if audit.rows}}


def audit_facts(facts: Mapping[str, Any]) -> tuple[AuditFacts, ...]:
    """What the report shows of the tables that `audit_tables` made."""
    return tuple(_shown(facts, row) for row in facts["audit"] if row["read"] > row["rejected"])


def _shown(facts: Mapping[str, Any], audit: Mapping[str, Any]) -> AuditFacts:
    def rows(table: str) -> Rows:
        return [row for row in facts.get(f"audit: {table}", ()) if row["source"] == audit["source"]]

    (contents,) = rows("contents")
    lengths = {row["text"]: row for row in rows("lengths in characters")}
    found = {text: facts["length_bands"][audit["source"]][text] for text in lengths}
    prompts, answers = (
        LengthFacts(
            median=lengths[text]["median"],
            p95=lengths[text]["p95"],
            longest=lengths[text]["longest"],
            bands=tuple(CharacterBand(shortest=low, longest=high, rows=count) for low, high, count in found[text]),
        )
        for text in ("prompt", "answer")
    )
    return AuditFacts(
        source=audit["source"],
        rows=audit["read"] - audit["rejected"],
        duplicates=audit["duplicates"],
        prompts=prompts,
        answers=answers,
        languages=tuple(ShareFacts(name=row["language"], share=row["share"]) for row in rows("languages")),
        contents=tuple(
            ShareFacts(name=words, share=contents[name]) for name, words in CONTENTS.items() if contents[name]
        ),
        missing=tuple(ShareFacts(name=row["field"], share=row["missing"]) for row in rows("missing fields")),
        labels=sum(row["labels"] for row in rows("labels")),
    )


def histogram_text(counts: Iterable[int]) -> str:
    """Counts as a line of blocks, the highest for the largest; the lowest stands for none."""
    given = list(counts)
    most = max(given, default=0)
    return "".join(_HEIGHTS[math.ceil(count / most * 7) if count else 0] for count in given)


def bar_text(share: float, width: int = 12) -> str:
    """A share as a bar; what is not nothing shows."""
    eighths = max(round(share * width * 8), 1 if share else 0)
    return _EIGHTHS[-1] * (eighths // 8) + (_EIGHTHS[eighths % 8 - 1] if eighths % 8 else "")


def _fates(audits: Sequence[SourceAudit]) -> Rows:
    return [
        {
            "source": audit.source,
            "role": audit.role,
            "files": audit.files,
            "read": audit.read,
            "rejected": audit.rejected,
            "heldout": audit.heldout,
            "heldout_share": _share(audit.heldout, audit.rows),
            "duplicates": count,
            "of_other_sources": foreign,
        }
        for audit, (count, foreign) in zip(audits, duplicates(audits), strict=True)
    ]


def _contents(audit: SourceAudit) -> dict[str, Any]:
    shares = {name: _share(getattr(audit, name), audit.rows) for name in CONTENTS}
    return {"source": audit.source, "turns_mean": round(audit.turns / audit.rows, 2), **shares}


def _lengths(audit: SourceAudit) -> Rows:
    return [
        {
            "source": audit.source,
            "text": text,
            **quantiles(lengths)._asdict(),
            "distribution": histogram_text(band.rows for band in bands(lengths)),
        }
        for text, lengths in (("prompt", audit.prompt_characters), ("answer", audit.answer_characters))
    ]


def _length_bands(audit: SourceAudit) -> dict[str, list[Band]]:
    return {"prompt": bands(audit.prompt_characters), "answer": bands(audit.answer_characters)}


def _languages(audit: SourceAudit) -> Rows:
    shares = language_shares(audit.sample)
    shown = shares[: MOST_LANGUAGES if len(shares) > MOST_LANGUAGES + 1 else len(shares)]
    rest = sum(share for _, share in shares[len(shown) :])
    entries = [*shown, ("other", rest)] if rest else shown
    return [
        {"source": audit.source, "language": name, "share": round(share, 4), "": bar_text(share)}
        for name, share in entries
    ]


def _missing_fields(audit: SourceAudit) -> Rows:
    return [
        {"source": audit.source, "field": storable(name), "missing": round(share, 4), "": bar_text(share)}
        for name, share in audit.fields.missing()[:MOST_FIELDS]
    ]


def storable(name: object) -> str:
    """A field's name as JSON can hold it, and not too long to show."""
    return str(name)[:60].encode(errors="backslashreplace").decode()


def _labels(audit: SourceAudit) -> Rows:
    labels = audit.labels
    if labels is None:
        return []
    names, rows = list(labels), list(labels.values())
    return [
        {
            "source": audit.source,
            "labels": len(labels),
            "commonest": names[0],
            "rows_of_commonest": rows[0],
            "rarest": names[-1],
            "rows_of_rarest": rows[-1],
            "distribution": histogram_text(rows[:MOST_LABELS_DRAWN]),
        }
    ]


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0
