"""Faults of training are told apart by their losses, real ones and simulated ones; sound runs are left in peace."""

import json
import math
import random
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.algorithms.training.history import Course
from tasks.algorithms.training.watch import Diagnosis, Facts, diagnose, divergence, should_stop

VOCABULARY = 1000
REAL: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "training_histories.json").read_text())
"""Runs of the demo's model on its own rows (two rows a step, 230 held-out rows, cosine schedule) and on spoiled ones:
`losses` of steps 1, 2, … and `heldout` as pairs of step and loss."""
FAULTS = {
    "sound": set(),
    "sound, short": set(),
    "sound, very short": set(),
    "answers of other prompts": set(),  # learned as well as any others: the losses alone cannot tell
    "rate x 1000": {"learning_rate_too_high"},
    "rate x 100": {"learning_rate_too_high"},
    "rate x 33": {"learning_rate_too_high"},
    "rate / 100": {"learning_rate_too_low"},
    "rate / 1000": {"learning_rate_too_low"},
    "labels shuffled in each row": {"shuffled_labels"},
    "labels shuffled over all rows": {"shuffled_labels"},
    "labels shuffled, held-out ones too": {"shuffled_labels"},
    "30 rows, 50 times": {"memorisation", "overfitting"},
}


def history(losses: list[float], heldout: dict[int, float] | None = None, **more: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"step": 0}] if heldout and 0 in heldout else []
    rows += [{"step": step, "loss": loss, "grad_norm": 1.0, **more} for step, loss in enumerate(losses, 1)]
    for row in rows:
        if heldout and row["step"] in heldout:
            row["heldout_loss"] = heldout[row["step"]]
    return rows


def real(name: str) -> list[dict[str, Any]]:
    return history(REAL[name]["losses"], dict(REAL[name]["heldout"]))


def facts(steps: int, **changes: Any) -> Facts:
    usual = {
        "epochs": 1.0, "rows": 800, "vocabulary": VOCABULARY, "parameters": 1_100_000, "learning": "every weight",
        "learning_rate": 1.5e-3,
    }  # fmt: skip
    return Facts(steps=steps, **{**usual, **changes})


def real_facts(name: str) -> Facts:
    told = REAL[name]
    return facts(told["planned"], epochs=told["epochs"], rows=told["rows"], learning_rate=told["learning_rate"])


def names(found: tuple[Diagnosis, ...]) -> set[str]:
    return {each.name for each in found}


@pytest.mark.parametrize("name", FAULTS)
def test_real_runs_are_diagnosed_by_name(name: str) -> None:
    found = diagnose(real(name), real_facts(name))
    assert names(found) == FAULTS[name]
    for each in found:
        assert each.advice.endswith(".")
        assert all(math.isfinite(value) for value in each.evidence.values())


def test_every_real_run_has_its_faults() -> None:
    assert set(REAL) == set(FAULTS)


@pytest.mark.parametrize("name", [name for name, faults in FAULTS.items() if not faults])
def test_a_sound_real_run_is_left_in_peace_at_every_step(name: str) -> None:
    rows = real(name)
    assert not any(divergence(rows[:length], VOCABULARY) for length in range(len(rows) + 1))
    evaluated = [place for place, row in enumerate(rows, 1) if "heldout_loss" in row]
    assert not any(diagnose(rows[:length], real_facts(name)) for length in evaluated)


def test_a_real_divergence_is_seen_within_a_few_steps() -> None:
    rows = real("rate x 1000")
    seen = [rows[length - 1]["step"] for length in range(1, len(rows) + 1) if divergence(rows[:length], VOCABULARY)]
    assert seen
    assert seen[0] <= 20


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("name", "words"), [("loss", "the loss"), ("grad_norm", "the gradient"), ("heldout_loss", "the held-out loss")]
)
def test_what_is_not_finite_is_a_divergence(name: str, words: str, value: float) -> None:
    rows = history([2.0, 1.9, 1.8])
    rows[-1][name] = value
    found = divergence(rows, VOCABULARY)
    assert found is not None
    assert (found.name, found.sentence) == ("divergence", f"{words} is {value} at step 3")
    assert divergence(rows[:-1], VOCABULARY) is None
    diagnose(rows, facts(3))  # which must stand it, too


def test_nothing_is_known_before_the_first_step() -> None:
    assert divergence([], VOCABULARY) is None
    assert divergence([{"step": 0, "heldout_loss": 3.0}], VOCABULARY) is None
    assert diagnose([{"step": 0, "heldout_loss": 3.0}], facts(10)) == ()


def test_a_loss_has_exploded_when_it_stays_far_above_a_uniform_guess() -> None:
    limit = 4 * math.log(VOCABULARY)
    assert divergence(history([3.0, limit + 1, limit + 1, limit + 1]), VOCABULARY) is not None
    assert divergence(history([3.0, limit + 1, limit + 1]), VOCABULARY) is None
    assert divergence(history([3.0, limit + 1, limit - 1, limit + 1]), VOCABULARY) is None


def test_a_base_that_never_saw_such_text_has_not_exploded() -> None:
    begun = 5 * math.log(VOCABULARY)
    assert divergence(history([begun] * 30), VOCABULARY) is None


def test_a_spike_that_stays_is_a_divergence_and_one_that_passes_is_not() -> None:
    noise = random.Random(1)
    calm = [1.5 + noise.gauss(0, 0.1) for _ in range(60)]
    found = divergence(history([3.0, *calm, *[6.0] * 10]), VOCABULARY)
    assert found is not None
    assert found.evidence["step"] == 62
    assert divergence(history([3.0, *calm, *[6.0] * 9]), VOCABULARY) is None
    assert divergence(history([3.0, *calm, *[6.0] * 5, *calm]), VOCABULARY) is None


def test_a_rise_that_keeps_some_of_what_was_learned_is_no_divergence() -> None:
    assert divergence(history([3.0, *[0.5] * 60, *[2.0] * 30]), VOCABULARY) is None


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    noise=st.floats(0.01, 0.6),
    outliers=st.floats(0, 0.15),
    floor=st.floats(0.2, 2.0),
)
def test_noise_of_small_batches_raises_no_alarm(seed: int, noise: float, outliers: float, floor: float) -> None:
    """Losses that fall, with noise in proportion and some steps several times as high."""
    draw = random.Random(seed)
    losses = [
        (floor + 2.5 * math.exp(-step / 40)) * math.exp(draw.gauss(0, noise)) * (4 if draw.random() < outliers else 1)
        for step in range(150)
    ]
    rows = history(losses)
    assert not any(divergence(rows[max(0, length - 64) : length], 32_000) for length in range(1, len(rows) + 1, 3))


def falling(steps: int, low: float, high: float, speed: float) -> list[float]:
    return [low + (high - low) * math.exp(-speed * step / steps) for step in range(steps)]


@pytest.mark.parametrize(
    ("rising", "found"), [(1.005, set()), (1.02, {"overfitting"}), (0.95, set())], ids=["flat", "rising", "falling"]
)
def test_a_heldout_loss_that_rises_is_overfitting(rising: float, found: set[str]) -> None:
    rows = history(falling(100, 1.2, 2.0, 4), {0: 2.0, 50: 1.4, 100: 1.4 * rising})
    assert names(diagnose(rows, facts(100))) == found


@pytest.mark.parametrize(("base", "found"), [(2.0, {"overfitting"}), (2.6, set())])
def test_a_gap_is_overfitting_unless_the_base_has_it_too(base: float, found: set[str]) -> None:
    losses = falling(100, 1.0, 2.0, 5)
    rows = history(losses, {0: base, 50: 1.5, 100: 1.45})
    assert Course.of(rows).gap() == pytest.approx(0.45 - (base - 2.0), abs=0.02)  # type: ignore[union-attr]
    assert names(diagnose(rows, facts(100))) == found


def test_reciting_is_memorisation_only_where_rows_come_again() -> None:
    rows = history(falling(100, 0.05, 2.0, 9), {0: 2.0, 50: 1.5, 100: 1.6})
    assert "memorisation" in names(diagnose(rows, facts(100, epochs=10, rows=30)))
    assert "memorisation" not in names(diagnose(rows, facts(100, epochs=1, rows=300)))


@pytest.mark.parametrize(("last", "found"), [(1.0, {"underfitting"}), (1.45, set())])
def test_a_loss_that_still_falls_at_the_end_is_underfitting(last: float, found: set[str]) -> None:
    rows = history(falling(100, last, 3.0, 3), {0: 3.0, 50: 1.6, 100: last})
    assert names(diagnose(rows, facts(100))) == found
    assert diagnose(rows, facts(1000)) == ()  # only at the end can that be said


def test_a_loss_that_goes_nowhere_is_underfitting() -> None:
    noise = random.Random(3)
    losses = [2.0, *(2.0 + noise.gauss(0, 0.02) for _ in range(99))]
    rows = history(losses, {0: 2.0, 30: 2.01, 60: 1.99, 100: 2.001})
    assert names(diagnose(rows, facts(100))) == {"underfitting"}


def test_advice_names_the_rates_that_are_usual() -> None:
    (found,) = diagnose(real("rate x 100"), real_facts("rate x 100"))
    assert "from 0.15 (usual for such a model: 5e-05 to 5e-03)" in found.advice


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([], False),
        ([2.0], False),
        ([2.0, 1.5, 1.5, 1.5, 1.5], True),
        ([2.0, 1.5, 1.5, 1.5], False),
        ([2.0, 1.5, 1.6, 1.7, 1.4], False),
        ([2.0, 1.5, 1.6, 1.7, 1.4, 1.5, 1.5, 1.5], True),
        ([2.0, 2.1, 2.2, 2.3], True),
        # Smaller improvements than the least that counts add up.
        ([*accumulate([-0.0004] * 12, initial=2.0)], False),
        ([*accumulate([-0.0002] * 3, initial=2.0)], True),
    ],
)
def test_training_stops_when_patience_is_over(losses: list[float], stops: bool) -> None:
    assert should_stop(losses, 3, 0.001) is stops


def test_equal_losses_are_no_improvement_without_a_least_one() -> None:
    assert should_stop([1.0, 1.0], 1, 0.0)
    assert not should_stop([1.0, 0.999999], 1, 0.0)
