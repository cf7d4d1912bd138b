"""The new filters on real public data, where it lies beside the checkout (or where FETTLE_REAL_DATA says)."""

import os
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from tasks.filters.echo import Echo
from tasks.filters.format import Format
from tasks.filters.language import Language, language_of
from tasks.filters.leftovers import Leftovers
from tasks.filters.personal import Personal
from tasks.filters.row import Columns, Reading

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")

SETS = {
    "alpaca": ("instruction/alpaca_original_subset.parquet", "instruction", "input", "output"),
    "codealpaca": ("instruction/codealpaca_2k.parquet", "instruction", "input", "output"),
    "codegen": ("instruction/gpteacher_codegen.parquet", "instruction", "input", "response"),
    "lima": ("instruction/lima.parquet", "instruction", "input", "output"),
    "medquad": ("domain/medquad_answered.parquet", "question", None, "answer"),
}


def rows_of(name: str) -> list[Reading]:
    path, question, context, answer = SETS[name]
    frame = pl.read_parquet(DATA / path).fill_null("")
    contexts = frame[context] if context else [""] * len(frame)
    asked = [f"{first}\n\n{more}" if more else first for first, more in zip(frame[question], contexts, strict=True)]
    return [Reading(prompt, said, 10, 100) for prompt, said in zip(asked, frame[answer], strict=True)]


def columns(rows: list[Reading]) -> Columns:
    prompts, answers = pl.Series([row.prompt for row in rows]), pl.Series([row.answer for row in rows])
    texts, counts = pl.Series([f"{row.prompt}\n{row.answer}" for row in rows]), pl.Series([100] * len(rows))
    return Columns(prompts, answers, texts, counts, counts)


@pytest.mark.parametrize("name", SETS)
def test_few_rows_of_clean_sets_are_dropped_and_all_of_them_were_suspected(name: str) -> None:
    rows = rows_of(name)
    for judge, most_per_10k in ((Leftovers(), 0), (Echo(), 1), (Format(), 10)):
        suspected = set(judge.suspects(columns(rows)).arg_true())
        dropped = {place for place, row in enumerate(rows) if judge(row) is not None}
        assert dropped <= suspected
        assert len(dropped) <= most_per_10k * len(rows) / 10_000
        assert len(suspected) <= 0.01 * len(rows)


@pytest.mark.parametrize(
    ("name", "most_per_10k"), [("alpaca", 4), ("codealpaca", 25), ("codegen", 10), ("lima", 40), ("medquad", 30)]
)
def test_personal_data_is_rare_in_public_sets_and_all_of_it_was_suspected(name: str, most_per_10k: int) -> None:
    rows, judge = rows_of(name), Personal(action="drop")
    suspected = set(judge.suspects(columns(rows)).arg_true())
    found = {place for place, row in enumerate(rows) if judge(row) is not None}
    assert found <= suspected
    assert 0 < len(found) <= most_per_10k * len(rows) / 10_000


def test_what_a_business_keeps_to_itself_is_no_personal_data_of_these_kinds() -> None:
    # The set's label is about what is said (a review of an employee, a customer's revenue): it holds no identifiers.
    frame = pl.read_parquet(DATA / "safety" / "enterprise_pii_classification.parquet")
    passages = frame["query"].str.extract(r"(?s)Passage: '''\n(.*)\n'''")
    found = Counter(
        (bool(label), bool(Personal().find(text))) for text, label in zip(passages, frame["gold"], strict=True)
    )
    assert found == {(True, False): 1676, (False, False): 1719}


def test_languages_are_told_apart_in_conversations_of_many() -> None:
    frame = pl.read_parquet(DATA / "conversations" / "oasst1_validation_via_qlora.parquet")
    guesses = [(language_of(text), code[:2]) for text, code in zip(frame["output"], frame["lang"], strict=True)]
    right = [guess[0] == code for guess, code in guesses if guess]
    assert sum(right) / len(right) > 0.98
    assert len(right) > 0.9 * len(guesses)
    english = Language(languages=("en",))
    kept = [row for row in rows_of("lima") if english(row) is None]
    assert len(kept) == 1019
