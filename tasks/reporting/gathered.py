"""From the rows of an evaluation's tables to the facts of a report; what it has no use for is left out."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

from tasks.config import Config
from tasks.reporting import wording
from tasks.reporting.judged_facts import EloFacts, GradeFacts, JudgeFacts, RateFacts
from tasks.reporting.score_facts import (
    AccuracyFacts,
    ForgottenFacts,
    InstructionFacts,
    LostInstructionFacts,
    SampleFacts,
    ScoreFacts,
    SubjectFacts,
)

Row = Mapping[str, Any]
_Facts = TypeVar("_Facts", bound=Config)

_CHECKS = ("first_position_rate", "consistency", "unparsed", "failed", "not_asked", "sentinels", "wrong_sentinels")
"""What is told of a judge itself."""


def score_facts(rows: Iterable[Row]) -> tuple[ScoreFacts, ...]:
    """The rows of `scores`."""
    return tuple(_known(ScoreFacts, row) for row in rows)


def subject_facts(rows: Iterable[Row]) -> tuple[SubjectFacts, ...]:
    """The rows of `subjects`."""
    return tuple(_known(SubjectFacts, row) for row in rows)


def forgotten_facts(rows: Iterable[Row], most: int = 100) -> tuple[ForgottenFacts, ...]:
    """The rows of `forgotten`, which are the worst first, up to a number that a page can hold."""
    told = (_known(ForgottenFacts, {**row, "prompt": row["question"]}) for row in rows)
    return tuple(fact for fact, _ in zip(told, range(most), strict=False))


def sample_facts(rows: Iterable[Row]) -> tuple[SampleFacts, ...]:
    """The rows of `samples`; better or worse only where one of the two models is right."""
    return tuple(_known(SampleFacts, {**row, "prompt": row["question"], "improved": _improved(row)}) for row in rows)


_MOST_LOST_KINDS = 5


def instruction_facts(base: Iterable[Row], tuned: Iterable[Row]) -> tuple[InstructionFacts, ...]:
    """The four accuracies of each benchmark of instructions, from the rows of `answers` of both models."""
    sides = [_followed(rows) for rows in (base, tuned)]
    return tuple(_instructions(name, [side[name] for side in sides]) for name in sides[0] if name in sides[1])


def _followed(rows: Iterable[Row]) -> dict[str, list[Sequence[Row]]]:
    """Of each benchmark what is told of each prompt's instructions; older measurements tell of none."""
    found: dict[str, list[Sequence[Row]]] = {}
    for row in rows:
        if row.get("followed"):
            found.setdefault(row["benchmark"], []).append(row["followed"])
    return found


def _instructions(benchmark: str, sides: list[list[Sequence[Row]]]) -> InstructionFacts:
    def accuracy(name: str, how: str, *, whole: bool) -> AccuracyFacts:
        base, tuned = ([[bool(each[how]) for each in prompt] for prompt in side] for side in sides)
        share = _prompt_share if whole else _instruction_share
        return AccuracyFacts(name=name, base=share(base), tuned=share(tuned))

    before, after = (Counter(each["name"] for prompt in side for each in prompt if each["strict"]) for side in sides)
    asked = Counter(each["name"] for prompt in sides[0] for each in prompt)
    lost = sorted((kind for kind in asked if after[kind] < before[kind]), key=lambda kind: after[kind] - before[kind])
    return InstructionFacts(
        benchmark=benchmark,
        prompts=len(sides[0]),
        instructions=asked.total(),
        accuracies=(
            accuracy("prompts, strict", "strict", whole=True),
            accuracy("prompts, loose", "loose", whole=True),
            accuracy("instructions, strict", "strict", whole=False),
            accuracy("instructions, loose", "loose", whole=False),
        ),
        lost=tuple(
            LostInstructionFacts(name=kind, asked=asked[kind], base=before[kind], tuned=after[kind])
            for kind in lost[:_MOST_LOST_KINDS]
        ),
    )


def _prompt_share(prompts: list[list[bool]]) -> float:
    return 100 * sum(map(all, prompts)) / len(prompts)


def _instruction_share(prompts: list[list[bool]]) -> float:
    return 100 * sum(map(sum, prompts)) / sum(map(len, prompts))


def _improved(row: Row) -> bool | None:
    same = row["base_right"] is None or row["base_right"] == row["tuned_right"]
    return None if same else bool(row["tuned_right"])


def _known(kind: type[_Facts], row: Row) -> _Facts:
    """The fields that the facts have; those without a value take their defaults."""
    fields = kind.model_fields
    return kind.model_validate({name: value for name, value in row.items() if name in fields and value is not None})


def judge_facts(judgement: Row, tuned: str = "tuned") -> tuple[JudgeFacts, ...]:
    """A judge's word on the tuned model against each other one, from the facts of a judgement's manifest.

    Of a void run only why it is void. What is told of the judge, its cost and all models stands with the first.
    """
    named = {"judge": judgement["judge"], "void": tuple(judgement["void"])}
    told = {
        "checks": {name: judgement[name] for name in _CHECKS if judgement.get(name) is not None},
        "cost": _cost(judgement),
        "elo": tuple(_known(EloFacts, row) for row in judgement.get("ratings", ())),
        "grades": tuple(_known(GradeFacts, row) for row in judgement.get("grades", ())),
    }
    chosen = [row for row in judgement.get("comparisons", ()) if row["model"] == tuned]
    if not chosen:
        return (JudgeFacts.model_validate({**named, **told, "prompts": 0}),)
    return tuple(
        JudgeFacts.model_validate({**named, **({} if place else told), **_won(row)}) for place, row in enumerate(chosen)
    )


def _won(row: Row) -> dict[str, Any]:
    level = [row[f"length_controlled{end}"] for end in ("", "_low", "_high")]
    return {
        **{name: row[name] for name in ("opponent", "prompts", "wins", "ties", "losses")},
        "win_rate": RateFacts(rate=row["rate"], low=row["low"], high=row["high"]),
        "length_controlled": None if None in level else RateFacts(rate=level[0], low=level[1], high=level[2]),
    }


def _cost(figures: Row) -> str:
    tokens = figures["input_tokens"] + figures["output_tokens"]
    asked = f"{figures['questions']:,} questions, {figures['cached']:,} of them answered before; {tokens:,} tokens"
    return f"{asked}, {wording.number(round(figures['cost'], 4))}" if figures["cost"] else asked
