"""Advice on settings: each rule has a setting that it speaks to, and sound settings get none."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.algorithms.training.advice import Setup, advise
from tasks.algorithms.training.rates import Learning, usual_rates

SOUND: dict[str, Any] = {
    "learning": "every weight", "learning_rate": 1e-5, "epochs": 2.0, "batch_size": 16, "warmup_ratio": 0.03,
    "weight_decay": 0.0, "evaluations": 10, "heldout_rows": 256, "parameters": 7_000_000_000, "rows": 20_000,
    "sequences": 4000, "max_length": 2048, "longest_sample": 1500,
}  # fmt: skip
ADAPTER: dict[str, Any] = {
    **SOUND, "learning": "an adapter", "learning_rate": 2e-4, "rank": 16, "alpha": 32.0,
}  # fmt: skip
SMALL = {"parameters": 1_100_000}


def setup(**changes: Any) -> Setup:
    return Setup(**{**(ADAPTER if "rank" in changes or "alpha" in changes else SOUND), **changes})


@pytest.mark.parametrize(
    "sound",
    [
        SOUND,
        ADAPTER,
        {**ADAPTER, "parameters": 70_000_000_000, "learning_rate": 1e-4},
        {**SOUND, "parameters": 1_000_000_000, "learning_rate": 5e-5},
        {**SOUND, **SMALL, "learning_rate": 1.5e-3},
        {**ADAPTER, **SMALL, "learning_rate": 5e-3},
        {**SOUND, "learning": "some weights", "learning_rate": 1e-4},
        # Nothing is known of the model and the rows.
        {**SOUND, **dict.fromkeys(("parameters", "rows", "sequences", "max_length", "longest_sample"))},
    ],
)
def test_sound_settings_need_no_advice(sound: dict[str, Any]) -> None:
    assert advise(Setup(**sound)) == ()


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        (
            {"learning_rate": 2e-4},
            "training.learning_rate",
            "5e-06 to 3e-05 is usual where every weight of a model of 7B",
        ),
        ({"learning_rate": 1e-7}, "training.learning_rate", "it may hardly learn; raise it"),
        ({"rank": 16, "learning_rate": 2e-5}, "training.learning_rate", "about ten times the rate of full training"),
        ({"rows": 900, "sequences": 200, "epochs": 4.0}, "training.epochs", "is 4 on 900 rows"),
        ({"epochs": 5.0}, "training.epochs", "arXiv 2305.16264"),
        ({"warmup_ratio": 0.0}, "training.warmup_ratio", "make them leap; take 0.03–0.1"),
        ({"warmup_ratio": 0.3}, "training.warmup_ratio", "rates that hardly learn"),
        ({"sequences": 128}, "training.batch_size", "makes 16 steps of 128 rows"),
        ({"batch_size": 1, "sequences": 10_000}, "training.batch_size", "about 2.0 conversations a step"),
        ({"batch_size": 1024, "sequences": 40_000}, "training.batch_size", "try 2.0e-05"),
        ({"rank": 16, "batch_size": 512, "sequences": 40_000}, "training.batch_size", "adapters lose more by batches"),
        ({"longest_sample": 300}, "tokenization.max_length", "is 2,048 and the longest conversation has 300 tokens"),
        ({"weight_decay": 0.5}, "training.weight_decay", "take 0 to 0.1"),
        ({"heldout_rows": 0}, "training.heldout_rows", "nobody sees overfitting"),
        ({"heldout_rows": 12}, "training.heldout_rows", "jumps about by itself"),
        ({"evaluations": 1}, "training.evaluations", "take 3 to 20"),
        ({"rank": 64, "alpha": 64.0, "rows": 999, "batch_size": 64}, "training.method.rank", "is 64 for 999 rows"),
        ({"rank": 4, "alpha": 8.0, "rows": 200_000}, "training.method.rank", "is 4 for 200,000 rows"),
        ({"alpha": 256.0}, "training.method.alpha", "alpha / rank is 16"),
        ({"alpha": 2.0}, "training.method.alpha", "alpha / rank is 0.125"),
        ({"alpha": 256.0, "rslora": True}, "training.method.alpha", "alpha / √rank is 64"),
        ({"rank": 16, "dropout": 0.5}, "training.method.dropout", "QLoRA found 0.05 to 0.1"),
    ],
)
def test_each_rule_speaks_of_its_field_and_value(changes: dict[str, Any], field: str, words: str) -> None:
    (advice,) = advise(setup(**changes))
    assert advice.field == field
    assert words in advice.sentence
    assert not advice.absurd
    told = setup(**changes)
    assert advice.value == getattr(told, field.rpartition(".")[2])


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1.0},
        {"learning_rate": 1.5, **SMALL},
        {"learning_rate": 1.0, "parameters": None},
        {"learning_rate": 0.05},
        {"rank": 16, "learning_rate": 0.9},
        {"learning_rate": 1e-10},
    ],
)
def test_rates_that_surely_fail_are_absurd(changes: dict[str, Any]) -> None:
    (advice,) = advise(setup(**changes))
    assert (advice.field, advice.absurd) == ("training.learning_rate", True)


def test_long_runs_warm_up_for_less() -> None:
    assert advise(setup(warmup_ratio=0.01, sequences=200_000, rows=1_000_000)) == ()
    assert advise(setup(warmup_ratio=0.01))[0].field == "training.warmup_ratio"


def test_steps_are_rounded_up_over_all_epochs() -> None:
    assert setup(sequences=10, epochs=1.5, batch_size=4).steps == 4
    assert setup(sequences=None).steps is None


@given(learning=st.sampled_from(("every weight", "some weights", "an adapter")), size=st.floats(3, 13))
def test_larger_models_take_lower_rates(learning: Learning, size: float) -> None:
    smaller, larger = (usual_rates(learning, round(10**exponent)) for exponent in (size, size + 0.3))
    assert larger.low <= smaller.low * 1.0001
    assert larger.high <= smaller.high * 1.0001
    assert 0 < larger.low < larger.high / 3


@given(size=st.floats(3, 13))
def test_an_adapter_takes_about_ten_times_the_rate(size: float) -> None:
    full, adapter = (usual_rates(learning, round(10**size)) for learning in ("every weight", "an adapter"))
    middles = [math.sqrt(low * high) for low, high in (full, adapter)]
    assert 5 <= middles[1] / middles[0] <= 40
