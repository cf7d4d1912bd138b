"""What of an audit deserves a warning: rejected rows, imbalance, a held-out side that is not what was asked for."""

import math
from collections.abc import Sequence

from tasks.algorithms.audit import SourceAudit
from tasks.reporting import wording

IMBALANCE = 5
"""How many times as many rows the largest source or label has as the smallest before people are told."""
MIN_ROWS_FOR_HELDOUT = 20
"""Sources with fewer rows may well have none that is held out."""
SURPRISE = 4
"""Standard deviations by which a held-out share may differ from the one asked for."""


def audit_warnings(audits: Sequence[SourceAudit], heldout_fraction: float, max_reject_ratio: float) -> list[str]:
    """What people should know before they train on these sources, a sentence each."""
    found = [*_reject_warnings(audits, max_reject_ratio), *_balance_warnings(audits)]
    if heldout_fraction:
        found += _heldout_warnings(audits, heldout_fraction)
    return found


def _reject_warnings(audits: Sequence[SourceAudit], most: float) -> list[str]:
    return [
        f"source {audit.source}: {audit.rejected:,} of {wording.rows(audit.read)} cannot be read "
        f"({wording.percentage(audit.rejected / audit.read)}); see the table of rejected rows, and mend the source or "
        "map its fields"
        for audit in audits
        if audit.rejected > most * audit.read
    ]


def _balance_warnings(audits: Sequence[SourceAudit]) -> list[str]:
    found = []
    filled = sorted((audit.rows - audit.heldout, audit.source) for audit in audits if audit.rows > audit.heldout)
    if filled and filled[-1][0] > IMBALANCE * filled[0][0]:
        (fewest, small), (most, large) = filled[0], filled[-1]
        found.append(
            f"source {large} has {most / fewest:,.1f} times as many rows to train on as {small} "
            f"({most:,} against {fewest:,}); mixing.shares decides how much of each the model sees"
        )
    for audit in audits:
        counts = list((audit.labels or {}).items())
        if counts and counts[0][1] > IMBALANCE * counts[-1][1]:
            (common, rows), (rare, few) = counts[0], counts[-1]
            found.append(
                f"source {audit.source}: the label {common!r} has {rows / few:,.1f} times as many rows as {rare!r} "
                f"({rows:,} against {few:,}); add rows of the rare labels, or measure each label apart"
            )
    return found


def _heldout_warnings(audits: Sequence[SourceAudit], fraction: float) -> list[str]:
    told = [(audit.source, _heldout_oddity(audit, fraction)) for audit in audits]
    advice = "raise ingestion.heldout_fraction, or give a source of your own that is held out"
    return [f"source {source}: {oddity}; {advice}" for source, oddity in told if oddity]


def _heldout_oddity(audit: SourceAudit, fraction: float) -> str | None:
    if audit.rows < MIN_ROWS_FOR_HELDOUT:
        return None
    if not audit.heldout:
        return f"none of its {wording.rows(audit.rows)} is held out, so the held-out loss says nothing of it"
    share = audit.heldout / audit.rows
    surprise = abs(share - fraction) / math.sqrt(fraction * (1 - fraction) / audit.rows)
    if surprise < SURPRISE or abs(share - fraction) < fraction / 2:
        return None
    asked, found = wording.percentage(fraction), wording.percentage(share)
    return f"{found} of its rows are held out where {asked} were asked for, so many of them share a prompt"
