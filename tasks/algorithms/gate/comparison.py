"""Two or three models' answers to the same items, side by side."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tasks.algorithms.gate import lists
from tasks.algorithms.gate.behaviour import behaviour_rows
from tasks.algorithms.gate.limits import BehaviourLimits, LossLimits
from tasks.algorithms.gate.losses import heldout_losses, loss_row, loss_verdict, text_losses
from tasks.algorithms.gate.paired import Verdict
from tasks.algorithms.gate.pairs import Measured, Pair, Row, Rows, paired, unchanged
from tasks.algorithms.gate.scores import Thresholds, benchmark_row, macro_row
from tasks.config import Config

_COLUMNS = (
    *("clusters", "low", "high", "standard_error", "bootstrap_low", "bootstrap_high", "mcnemar_p"),
    *("lost", "gained", "smallest_visible", "needed_items", "verdict"),
)
_EMPTY: Row = dict.fromkeys(_COLUMNS)
"""What a score row says nothing of where it makes no sense."""

_ALPHA = 0.01
"""How often the guards of each sort, of losses and of behaviour, may accuse a harmless model in a run."""


class Gate(Config):
    """What the gate looks at, and what it allows."""

    gated: tuple[str, ...]
    """Benchmarks whose verdict counts."""
    investigate: float
    """Points of a sure drop beyond which it wants a look."""
    fail: float
    """Points of a sure drop beyond which the model fails."""
    behaviour: BehaviourLimits = BehaviourLimits()
    """How much of each bad habit the answers may show."""
    losses: LossLimits = LossLimits()
    """How much a loss may rise."""
    looks: int = 1
    """How often the gate may look while items are added: each look is a chance to err."""


@dataclass
class Comparison:
    """What changed from the base, and from the model in production, to the tuned model."""

    items: int
    scores: Rows = field(default_factory=list)
    samples: Rows = field(default_factory=list)
    forgotten: Rows = field(default_factory=list)
    subjects: Rows = field(default_factory=list)


def compare(base: Measured, tuned: Measured, gate: Gate, production: Measured | None = None) -> Comparison:
    """Scores against the base and, where there is one, the model in production; the rest is against the base.

    Raises `IncomparableError` where two measurements are not of the same questions in the same words.
    """
    references = {"base": base} if production is None else {"base": base, "production": production}
    made = Comparison(items=len(base["items"]))
    for against, reference in references.items():
        pairs = paired(reference, tuned, against)
        if against == "base":
            made.forgotten = lists.forgotten(pairs)
            made.subjects = lists.subjects(pairs)
            made.samples = lists.samples(pairs)
        chances = len(references) * gate.looks
        sides = _Sides(pairs, reference, tuned, against, chances, unchanged(pairs, reference, tuned))
        guarded = behaviour_rows(pairs, gate.behaviour, _ALPHA / chances, same=sides.same)
        rows = [*_benchmarks(sides, gate), *_losses(sides, gate), *guarded]
        made.scores += [{**_EMPTY, "note": "", **row, "against": against} for row in rows]
    return made


@dataclass(frozen=True)
class _Sides:
    """The tuned model and one that it is compared with."""

    pairs: Sequence[Pair]
    before: Measured
    after: Measured
    against: str
    chances: int
    """How many models it is compared with in this run, times how often the gate may look."""
    same: bool
    """The two answer like one."""


def _benchmarks(sides: _Sides, gate: Gate) -> Iterator[Row]:
    scored = _by_benchmark([pair for pair in sides.pairs if pair.scored])
    compared = max(1, sum(name in gate.gated for name in scored)) * sides.chances
    limits = Thresholds(gate.investigate, gate.fail, compared)
    rows = [benchmark_row(each, limits, gated=name in gate.gated, same=sides.same) for name, each in scored.items()]
    yield from rows
    if len(rows) > 1:
        yield macro_row(rows)


def _losses(sides: _Sides, gate: Gate) -> Iterator[Row]:
    texts = _by_benchmark([pair for pair in sides.pairs if pair.item["form"] == "text"])
    alpha = _ALPHA / sides.chances / (len(texts) + 1)
    for name, each in texts.items():
        row = loss_row(name, "text loss", text_losses(each), alpha)
        verdict = _loss_verdict(row, gate.losses.text, "investigate", sides) if name in gate.gated else None
        yield {**row, "verdict": verdict}
    if sides.before["heldout"] or sides.after["heldout"]:
        losses = heldout_losses(sides.before, sides.after, sides.against)
        row = loss_row("held-out loss", "held-out loss", losses, alpha)
        yield {**row, "verdict": _loss_verdict(row, gate.losses.heldout, "fail", sides)}


def _loss_verdict(row: Row, allowed: float, graver: Verdict, sides: _Sides) -> Verdict:
    # Of one model measured twice, the last digits may all differ the same way.
    return "pass" if sides.same else loss_verdict(row, allowed, graver)


def _by_benchmark(pairs: Sequence[Pair]) -> dict[str, list[Pair]]:
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.benchmark, []).append(pair)
    return found
