"""The audit as people see it: tables in text, and a part of the report."""

import pyarrow as pa

from tasks.algorithms.audit import SourceAudit
from tasks.conversation import CONVERSATIONS
from tasks.reporting import plots
from tasks.reporting.audit import audit_facts, audit_tables, bar_text, histogram_text
from tasks.reporting.audit_warnings import audit_warnings
from tasks.reporting.page import render
from tests.reporting.example import AUDITS, EXAMPLE
from tests.reporting.markup import Page


def audited(name: str, rows: int, heldout: int = 0) -> SourceAudit:
    made = [
        {
            "id": f"{number:032x}",
            "split": "heldout" if number < heldout else "train",
            "messages": [
                {"role": "user", "content": f"What is the fee of card number {number}?"},
                {"role": "assistant", "content": "The fee of this card is four dollars."},
            ],
        }
        for number in range(rows)
    ]
    audit = SourceAudit(name, "domain", 1)
    audit.add(pa.Table.from_pylist(made, CONVERSATIONS), refusals=0)
    return audit


def test_bars_and_blocks_never_hide_what_is_there() -> None:
    assert histogram_text([0, 1, 1000, 500]) == "▁▂█▅"
    assert histogram_text([0, 0]) == "▁▁"
    assert [bar_text(share, width=2) for share in (0, 0.001, 0.5, 0.75, 1)] == ["", "▏", "█", "█▌", "██"]


def test_the_report_shows_what_the_audit_found() -> None:
    found = audit_facts(audit_tables([audited("cards", 40), SourceAudit("broken", "code", 1, rejected=3)]))
    (cards,) = found
    assert (cards.source, cards.rows, cards.prompts.longest, cards.answers.median) == ("cards", 40, 34, 37)
    assert [(language.name, language.share) for language in cards.languages] == [("en", 1.0)]
    assert sum(band.rows for band in cards.prompts.bands) == 40


def test_a_held_out_side_that_is_not_what_was_asked_for_is_told() -> None:
    assert audit_warnings([audited("a", 1000, 50)], 0.05, 0.01) == []
    (far_off,) = audit_warnings([audited("a", 1000, 200)], 0.05, 0.01)
    assert far_off.startswith("source a: 20.0% of its rows are held out where 5.0% were asked for")
    (none,) = audit_warnings([audited("a", 20)], 0.05, 0.01)
    assert none.startswith("source a: none of its 20 rows is held out")
    assert audit_warnings([audited("a", 19)], 0.05, 0.01) == audit_warnings([audited("a", 20)], 0.0, 0.01) == []


def test_imbalance_is_of_the_rows_to_train_on() -> None:
    large, small = audited("large", 100), audited("small", 20)
    assert audit_warnings([large, small, audited("own", 3, heldout=3)], 0.0, 0.01) == []
    (told,) = audit_warnings([large, small, audited("mostly", 30, heldout=20)], 0.0, 0.01)
    assert told.startswith("source large has 10.0 times as many rows to train on as mostly (100 against 10);")
    (told,) = audit_warnings([large, audited("own", 900, heldout=900), audited("few", 5)], 0.0, 0.01)
    assert told.startswith("source large has 20.0 times as many rows to train on as few (100 against 5);")


def test_all_sources_share_the_axis_of_lengths() -> None:
    axis = plots.length_axis(AUDITS)
    for audit in AUDITS:
        for lengths in (audit.prompts, audit.answers):
            columns = Page(plots.spread(lengths, axis, "lengths"))
            assert columns.text.count("characters") == len(lengths.bands)
    assert [axis.share(tick) for tick in axis.ticks] == sorted(axis.share(tick) for tick in axis.ticks)
    assert all(0 <= axis.share(tick) <= 100 for tick in axis.ticks)


def test_shares_are_stacked_without_gaps() -> None:
    drawn = plots.stack([0.5, 0.25, 0.25])
    assert "left:0.00%;width:50.00%" in drawn
    assert "left:50.00%;width:25.00%" in drawn
    assert "left:75.00%;width:25.00%" in drawn


def test_the_page_tells_every_warning_and_every_source() -> None:
    text = Page(render(EXAMPLE)).text
    for warning in EXAMPLE.warnings:
        assert warning.sentence in text
    for shown in ("41.2% of several turns", "62.4% without", "en\u00a087.4%", "median 118, 95% up to 373"):
        assert shown in text
