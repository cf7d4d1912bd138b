"""What a careful practitioner would say about the settings of a training run, before it starts.

Advice is only that: the run goes ahead. Absurd is what would surely diverge or learn nothing, and is refused.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from pydantic import Field

from tasks.algorithms.training.rates import Learning, usual_rates
from tasks.config import Config

ABSURD_RATE = 1.0
"""Each of Adam's steps moves every weight by about the rate; weights of a language model are far smaller than 1."""
ABSURD_FACTOR = 1000
"""So many times outside the usual range no run is known to learn."""
FEW_ROWS, MOST_EPOCHS, MOST_EPOCHS_OF_MANY = 10_000, 3, 4
WARMUP, WARM_STEPS = (0.03, 0.10), 100
FEWEST_STEPS = 20
FEWEST_SAMPLES_A_STEP = 4
LARGE_BATCH = 256
FAR_ABOVE = 4
FEWEST_HELDOUT = 32
LARGE_RANK, ROWS_OF_LARGE_RANK = 64, 1000
SMALL_RANK, ROWS_OF_SMALL_RANK = 4, 100_000
SCALES, ROOT_SCALE = (0.5, 4.0), 8.0


class Setup(Config):
    """The settings of a run as plain values; what is not known is none and gives no advice."""

    learning: Learning
    """How much of the model learns."""
    learning_rate: float
    """Highest rate of the schedule."""
    epochs: float
    """Passes over the mixture."""
    batch_size: int
    """Packed rows of one optimiser step."""
    warmup_ratio: float
    """Share of the steps in which the rate rises."""
    weight_decay: float
    """AdamW's weight decay."""
    evaluations: int
    """Measurements of the held-out loss."""
    heldout_rows: int | None = None
    """Held-out rows that it is measured on."""
    parameters: int | None = None
    """Parameters of the whole model."""
    rows: int | None = None
    """Conversations of the mixture, copies included."""
    sequences: int | None = None
    """Packed rows that they make."""
    max_length: int | None = None
    """Tokens of a packed row."""
    longest_sample: int | None = Field(None, ge=1)
    """Tokens of the longest conversation."""
    rank: int | None = None
    """Rank of the adapter."""
    alpha: float | None = None
    """Scale of the adapter."""
    dropout: float = 0.0
    """Dropout of the adapter."""
    rslora: bool = False
    """Whether the adapter is scaled by alpha / √rank."""

    @property
    def steps(self) -> int | None:
        """Optimiser steps of the whole run."""
        return None if self.sequences is None else math.ceil(self.sequences * self.epochs / self.batch_size)


class Advice(NamedTuple):
    """One remark: the field of the recipe, its value, and what to do for which reason."""

    field: str
    value: float
    sentence: str
    absurd: bool = False


def advise(setup: Setup) -> tuple[Advice, ...]:
    """Everything worth saying, the learning rate first."""
    return tuple(advice for rule in _RULES for advice in rule(setup))


def _learning_rate(setup: Setup) -> Iterator[Advice]:
    rate, field = setup.learning_rate, "training.learning_rate"
    if rate >= ABSURD_RATE:
        yield Advice(
            field, rate, f"is {rate:g}; each step moves every weight by about that much, which no model survives", True
        )
        return
    if setup.parameters is None:
        return
    low, high = usual_rates(setup.learning, setup.parameters)
    usual = f"{low:.0e} to {high:.0e} is usual where {setup.learning} of {_size(setup.parameters)} learns"
    if rate > high:
        absurd = rate > ABSURD_FACTOR * high
        fear = "this surely diverges" if absurd else "it may diverge, or forget what the base knows"
        yield Advice(field, rate, f"is {rate:g}; {usual}; {fear}; lower it", absurd)
    elif rate < low:
        absurd = rate < low / ABSURD_FACTOR
        fear = "this learns nothing" if absurd else "it may hardly learn"
        ten = ", and an adapter wants about ten times the rate of full training" if setup.rank else ""
        yield Advice(field, rate, f"is {rate:g}; {usual}{ten}; {fear}; raise it", absurd)


def _size(parameters: int) -> str:
    unit, name = next((pair for pair in ((1e9, "B"), (1e6, "M")) if parameters >= pair[0]), (1e3, "k"))
    return f"a model of {parameters / unit:.3g}{name} parameters"


def _epochs(setup: Setup) -> Iterator[Advice]:
    if setup.rows is None:
        return
    field, told = "training.epochs", f"is {setup.epochs:g}"
    if setup.rows < FEW_ROWS and setup.epochs > MOST_EPOCHS:
        yield Advice(
            field,
            setup.epochs,
            f"{told} on {setup.rows:,} rows; with fewer than {FEW_ROWS:,} a model begins to learn them by heart after "
            f"{MOST_EPOCHS}; take {MOST_EPOCHS} or fewer, or gather more rows",
        )
    elif setup.rows >= FEW_ROWS and setup.epochs > MOST_EPOCHS_OF_MANY:
        yield Advice(
            field,
            setup.epochs,
            f"{told}; rows that are repeated more than {MOST_EPOCHS_OF_MANY} times are worth less and less "
            "(Muennighoff et al., arXiv 2305.16264); take fewer",
        )


def _warmup(setup: Setup) -> Iterator[Advice]:
    ratio, (low, high) = setup.warmup_ratio, WARMUP
    field, told = "training.warmup_ratio", f"is {ratio:g}"
    if ratio > high:
        yield Advice(
            field, ratio, f"{told}; more than {high:g} spends the run on rates that hardly learn; take {low:g}–{high:g}"
        )
    elif ratio < low and (setup.steps is None or ratio * setup.steps < WARM_STEPS):
        yield Advice(
            field,
            ratio,
            f"{told}; Adam's first steps go by estimates from a few batches, and full rates make them leap; "
            f"take {low:g}–{high:g}",
        )


def _steps(setup: Setup) -> Iterator[Advice]:
    if setup.steps is not None and setup.steps < FEWEST_STEPS:
        yield Advice(
            "training.batch_size",
            setup.batch_size,
            f"is {setup.batch_size}, which makes {setup.steps} steps of {setup.sequences:,} rows; fewer than "
            f"{FEWEST_STEPS} hardly move a model; lower it, or train for more epochs",
        )


def _batch_size(setup: Setup) -> Iterator[Advice]:
    size, field = setup.batch_size, "training.batch_size"
    if setup.rows is not None and setup.sequences:
        samples = size * setup.rows / setup.sequences
        if samples < FEWEST_SAMPLES_A_STEP:
            yield Advice(
                field,
                size,
                f"is {size}, about {samples:.1f} conversations a step; such steps are mostly noise; raise it, and the "
                "learning rate by the square root of the same factor",
            )
    if size <= LARGE_BATCH:
        return
    if setup.learning == "an adapter":
        yield Advice(
            field,
            size,
            f"is {size}; adapters lose more by batches over {LARGE_BATCH} than full training does, at any rank "
            "(Schulman et al., LoRA Without Regret); lower it",
        )
    elif setup.parameters is not None:
        low, high = usual_rates(setup.learning, setup.parameters)
        if setup.learning_rate < math.sqrt(low * high):
            factor = math.sqrt(size / LARGE_BATCH)
            yield Advice(
                field,
                size,
                f"is {size} with a rate of {setup.learning_rate:g}; with Adam the rate that fits grows with the square "
                f"root of the batch (Malladi et al., arXiv 2205.10330; with SGD in proportion): "
                f"try {setup.learning_rate * factor:.1e}",
            )


def _max_length(setup: Setup) -> Iterator[Advice]:
    if setup.max_length and setup.longest_sample and setup.max_length > FAR_ABOVE * setup.longest_sample:
        yield Advice(
            "tokenization.max_length",
            setup.max_length,
            f"is {setup.max_length:,} and the longest conversation has {setup.longest_sample:,} tokens; longer rows "
            f"only take memory and make steps few; {setup.longest_sample:,} would do",
        )


def _weight_decay(setup: Setup) -> Iterator[Advice]:
    if setup.weight_decay > 0.1:
        yield Advice(
            "training.weight_decay",
            setup.weight_decay,
            f"is {setup.weight_decay:g}; above 0.1 it pulls weights down faster than most data teaches; take 0 to 0.1",
        )


def _heldout(setup: Setup) -> Iterator[Advice]:
    rows, field = setup.heldout_rows, "training.heldout_rows"
    if rows == 0:
        yield Advice(
            field,
            rows,
            "is 0: without held-out rows nobody sees overfitting, nothing stops early, and the last step is kept, not "
            "the best; hold some out with ingestion.heldout_fraction or a source of your own",
        )
    elif rows is not None and rows < FEWEST_HELDOUT:
        yield Advice(
            field,
            rows,
            f"is {rows}: a loss over so few rows jumps about by itself, so the best step is chosen by luck; hold out "
            f"{FEWEST_HELDOUT} or more",
        )
    if rows and setup.evaluations < 3:
        yield Advice(
            "training.evaluations",
            setup.evaluations,
            f"is {setup.evaluations}; with fewer than 3 a run that overfits is seen only when it is over; take 3 to 20",
        )


def _rank(setup: Setup) -> Iterator[Advice]:
    rank, rows, field = setup.rank, setup.rows, "training.method.rank"
    if rank is None or rows is None:
        return
    if rank >= LARGE_RANK and rows < ROWS_OF_LARGE_RANK:
        yield Advice(
            field,
            rank,
            f"is {rank} for {rows:,} rows; so much capacity learns them by heart and no better; 8 to 32 will do",
        )
    elif rank <= SMALL_RANK and rows > ROWS_OF_SMALL_RANK:
        yield Advice(
            field,
            rank,
            f"is {rank} for {rows:,} rows; a small adapter is full before it has seen them all (LoRA Without Regret); "
            "take 32 or more",
        )


def _scale(setup: Setup) -> Iterator[Advice]:
    if setup.rank is None or setup.alpha is None:
        return
    alpha, rank, field = setup.alpha, setup.rank, "training.method.alpha"
    scale = alpha / (math.sqrt(rank) if setup.rslora else rank)
    low, high = (0.0, ROOT_SCALE) if setup.rslora else SCALES
    if not low <= scale <= high:
        formula = "alpha / √rank" if setup.rslora else "alpha / rank"
        yield Advice(
            field,
            alpha,
            f"is {alpha:g}, so {formula} is {scale:.3g}, and the adapter learns as with a rate of so many times; "
            "usual is alpha between the rank and twice the rank" + (", without rslora" if setup.rslora else ""),
        )


def _dropout(setup: Setup) -> Iterator[Advice]:
    if setup.dropout > 0.3:
        yield Advice(
            "training.method.dropout",
            setup.dropout,
            f"is {setup.dropout:g}; QLoRA found 0.05 to 0.1 best, and more only slows learning; lower it",
        )


_RULES: tuple[Callable[[Setup], Iterator[Advice]], ...] = (
    _learning_rate,
    _epochs,
    _steps,
    _batch_size,
    _warmup,
    _weight_decay,
    _max_length,
    _heldout,
    _rank,
    _scale,
    _dropout,
)
