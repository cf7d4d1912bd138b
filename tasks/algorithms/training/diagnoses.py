"""What can be wrong with a run that goes on, one rule each: a course and its facts in, a diagnosis out or none."""

import math
from collections.abc import Callable
from itertools import pairwise
from statistics import median

from tasks.algorithms.training.history import Course, Diagnosis, Facts
from tasks.algorithms.training.rates import usual_rates

MOST_GAP = 0.3
"""Nats a token: with it the model gives its own rows a third more probability, token by token, than new ones."""
RISING = 1.01
"""Held-out loss above so many times its best has turned."""
SHUFFLED_FACTOR, SHUFFLED_NATS = 1.4, 1.0
"""A base's loss on rows of the same kind differs by less, even in a single small batch."""
WORSE_THAN_GUESS = 1.2
"""Weights that were never trained guess about uniformly; only a model that is sure of something else does worse."""
RISEN = 1.25
"""A loss so many times the one that the run set out from is no noise over several steps."""
SMOOTHING = 5
WORSE = 1.02
HARDLY, LITTLE = 0.01, 0.15
"""Shares of the base's held-out loss that a run which learned must have taken off."""
KNOWN_BY_HEART = 0.25
"""A training loss below this share of the held-out loss is that of rows which the model recites."""
SEEN_OFTEN = 3.0
STILL_FALLING = 0.6
"""Slope of ln loss over ln steps; training as long again would take 1 − 2^−0.6, a third, off the loss."""


def shuffled_labels(course: Course, facts: Facts) -> Diagnosis | None:
    """Answers that do not belong to their prompts, or labels beside their tokens.

    The first step's loss is still the base's own. Where it is far above the base's loss on held-out rows, the rows are
    unlike those, or their labels are wrong; rows that are merely unlike are learned, wrong labels are not, and what is
    learned from them spoils the held-out loss. Where both sides are shuffled there is nothing to compare with, but a
    pretrained model then does worse than a uniform guess, and never learns to do much better.
    """
    if course.step < min(facts.steps, max(2 * SMOOTHING, facts.steps / 10)):
        return None
    guess = math.log(max(facts.vocabulary, 2))
    if course.base is None or not course.heldout:
        return None
    unlike = course.first > max(SHUFFLED_FACTOR * course.base, course.base + SHUFFLED_NATS)
    unlearned = course.recent > course.base
    spoiled = course.heldout[-1][1] > course.base
    if unlike and unlearned and spoiled:
        seen = (
            f"the base's loss was {course.base:.3f} on held-out rows and {course.first:.3f} on the first training "
            f"rows; at step {course.step} training is at {course.recent:.3f} and the held-out loss has risen to "
            f"{course.heldout[-1][1]:.3f}"
        )
    elif min(course.base, course.first) > WORSE_THAN_GUESS * guess and course.recent > guess / 2:
        seen = (
            f"the base began at {course.first:.3f}, worse than a uniform guess ({guess:.3f}), and after {course.step} "
            f"steps training is still at {course.recent:.3f}"
        )
    else:
        return None
    return Diagnosis(
        name="shuffled_labels",
        sentence=f"the labels do not follow from the rows: {seen}",
        evidence={
            "base_heldout_loss": course.base,
            "first_loss": course.first,
            "recent_loss": course.recent,
            "heldout_loss": course.heldout[-1][1],
            "uniform_guess": guess,
        },
        advice="Read some rows as they are trained on (`masks.html`): whether the answers belong to their prompts, and "
        "the labels to their tokens.",
    )


def learning_rate_too_high(course: Course, facts: Facts) -> Diagnosis | None:
    """Training made the model worse on the very rows that it trains on, or on all.

    Steps that overshoot raise the loss; noise does not raise the median of several steps by a quarter. Gradients that
    are clipped prove nothing: sound runs of small models clip at nearly every step.
    """
    if shuffled_labels(course, facts):
        return None
    peak, step = _peak(course)
    # Without held-out rows the first batch is all there is to compare with, and it may be a light one.
    risen = peak > RISEN * course.start and (course.base is not None or course.recent > course.start)
    last = course.heldout[-1][1] if course.heldout else None
    worse = (
        last is not None
        and course.base is not None
        and last > WORSE * course.base
        and course.recent > course.around(course.losses[min(SMOOTHING, len(course.losses)) - 1][0])
    )
    if not risen and not worse:
        return None
    sentence = f"the training loss began at {course.first:.3f}, rose to {peak:.3f} about step {step} and is "
    evidence = {"start": course.start, "peak": peak, "peak_step": float(step), "recent_loss": course.recent}
    sentence += f"{course.recent:.3f} at step {course.step}"
    if last is not None and course.base is not None:
        sentence += f"; the held-out loss is {last:.3f}, the base's was {course.base:.3f}"
        evidence |= {"heldout_loss": last, "base_heldout_loss": course.base}
    return Diagnosis(
        name="learning_rate_too_high",
        sentence=sentence,
        evidence=evidence | {"learning_rate": facts.learning_rate},
        advice=f"Lower training.learning_rate from {facts.learning_rate:g} {_usual(facts)}; a third of it is a start.",
    )


def _peak(course: Course) -> tuple[float, int]:
    """The highest median of successive losses, and its middle step."""
    losses = course.losses
    windows = [losses[begin : begin + SMOOTHING] for begin in range(max(1, len(losses) - SMOOTHING + 1))]
    return max((median(loss for _, loss in window), window[len(window) // 2][0]) for window in windows)


def _usual(facts: Facts) -> str:
    low, high = usual_rates(facts.learning, facts.parameters)
    return f"(usual for such a model: {low:.0e} to {high:.0e})"


def learning_rate_too_low(course: Course, facts: Facts) -> Diagnosis | None:
    """The held-out loss falls at every evaluation, and has come nearly nowhere by the end.

    What cannot be learned jumps about; what is learned too slowly falls steadily. Where a rate lies below the usual
    range a larger fall is still too little.
    """
    if course.step < facts.steps or course.base is None or not course.heldout:
        return None
    last = course.heldout[-1][1]
    fallen = 1 - last / course.base
    below = facts.learning_rate < usual_rates(facts.learning, facts.parameters).low
    if not _steady(course) or not 0 < fallen < (LITTLE if below else HARDLY):
        return None
    return Diagnosis(
        name="learning_rate_too_low",
        sentence=f"the held-out loss fell steadily, but in all {course.step} steps only from {course.base:.3f} to "
        f"{last:.3f}, {fallen:.1%}",
        evidence={"base_heldout_loss": course.base, "heldout_loss": last, "learning_rate": facts.learning_rate},
        advice=f"Raise training.learning_rate from {facts.learning_rate:g} {_usual(facts)}, or train longer.",
    )


def _steady(course: Course) -> bool:
    values = [course.base or 0.0, *(loss for _, loss in course.heldout)]
    return all(after <= before + 1e-4 for before, after in pairwise(values))


def memorisation(course: Course, facts: Facts) -> Diagnosis | None:
    """Rows that were seen again and again are recited, while new ones have long brought no gain."""
    seen = facts.epochs * course.step / facts.steps
    if seen < SEEN_OFTEN or not course.heldout or course.best is None:
        return None
    last_step, last = course.heldout[-1]
    recent = course.around(last_step)
    if recent > KNOWN_BY_HEART * last or last < course.best[1]:
        return None
    if course.best[0] == last_step and not _stands(course):
        return None
    return Diagnosis(
        name="memorisation",
        sentence=f"after {seen:.1f} passes over {facts.rows:,} rows the training loss is {recent:.3f}, but the "
        f"held-out loss {last:.3f}; it was lowest ({course.best[1]:.3f}) at step {course.best[0]}",
        evidence={
            "passes": seen,
            "rows": float(facts.rows),
            "training_loss": recent,
            "heldout_loss": last,
            "best_heldout_loss": course.best[1],
            "best_step": float(course.best[0]),
        },
        advice="Train for fewer epochs, gather more rows, or let fewer weights learn.",
    )


def _stands(course: Course) -> bool:
    """The latest evaluation brought less than a hundredth."""
    return len(course.heldout) > 1 and course.heldout[-1][1] * RISING > course.heldout[-2][1]


def overfitting(course: Course, facts: Facts) -> Diagnosis | None:
    """The model goes on getting better on its own rows and no better, or worse, on others."""
    gap = course.gap()
    if gap is None or course.best is None or course.step < facts.steps / 10 or shuffled_labels(course, facts):
        return None
    (step, last), (best_step, best) = course.heldout[-1], course.best
    better = course.base is None or best < course.base
    turned = better and last > RISING * best and course.around(step) < course.around(best_step)
    apart = gap > MOST_GAP and course.around(step) < course.first
    if not turned and not apart:
        return None
    seen = [f"held-out minus training loss is {last - course.around(step):.3f} at step {step}"]
    if course.base is not None:
        seen.append(f"{gap:.3f} more than the base's")
    if turned:
        seen.append(f"the held-out loss was lowest ({best:.3f}) at step {best_step} and has risen to {last:.3f}")
    return Diagnosis(
        name="overfitting",
        sentence="; ".join(seen),
        evidence={"gap": gap, "heldout_loss": last, "best_heldout_loss": best, "best_step": float(best_step)},
        advice="Train for fewer epochs or gather more rows; a lower rate, a smaller rank or weight decay help, too. "
        "The best step is the one that is kept.",
    )


def underfitting(course: Course, facts: Facts) -> Diagnosis | None:
    """Judged at the end alone: the loss is still clearly falling, or has hardly left the base's."""
    if course.step < facts.steps or course.base is None or len(course.heldout) < 2:
        return None
    if any(rule(course, facts) for rule in (shuffled_labels, learning_rate_too_high, learning_rate_too_low)):
        return None
    (before, higher), (step, last) = course.heldout[-2:]
    slope = math.log(higher / last) / math.log(step / before) if last > 0 else 0.0
    if last < course.base and slope > STILL_FALLING:
        sentence = f"the held-out loss still fell from {higher:.3f} to {last:.3f} between steps {before} and {step}"
        advice = "Train for more epochs."
    elif last > (1 - HARDLY) * course.base and course.recent > (1 - HARDLY) * course.first:
        sentence = (
            f"the held-out loss went from {course.base:.3f} to {last:.3f} and the training loss from "
            f"{course.first:.3f} to {course.recent:.3f} in {step} steps"
        )
        advice = "Let more weights learn (a higher rank, more layers), or see whether the base knew it all before."
    else:
        return None
    evidence = {"base_heldout_loss": course.base, "heldout_loss": last, "slope": slope, "recent_loss": course.recent}
    return Diagnosis(name="underfitting", sentence=sentence, evidence=evidence, advice=advice)


RULES: tuple[Callable[[Course, Facts], Diagnosis | None], ...] = (
    shuffled_labels,
    learning_rate_too_high,
    learning_rate_too_low,
    memorisation,
    overfitting,
    underfitting,
)
