"""Replies as tables: every verdict and grade with what it cost, and every pair with its score."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tasks.algorithms.judgement.verdicts import Verdict, contest_score
from tasks.judging.asked import Request
from tasks.judging.asking import Asking
from tasks.judging.config import JudgeConfig
from tasks.judging.pairs import Grading, Pair, Prompt
from tasks.judging.prompts import read_grade, read_verdict

Row = dict[str, Any]

_PLACE = [("benchmark", pa.string()), ("prompt_id", pa.string()), ("category", pa.string()), ("turn", pa.int32())]
_REPLY = [
    ("outcome", pa.string()),
    ("answer", pa.string()),
    ("fault", pa.string()),
    ("seconds", pa.float64()),
    ("tries", pa.int64()),
    ("input_tokens", pa.int64()),
    ("output_tokens", pa.int64()),
    ("cost", pa.float64()),
]
JUDGEMENTS = pa.schema(
    [
        *_PLACE,
        ("sentinel", pa.string()),
        ("first", pa.string()),
        ("second", pa.string()),
        ("verdict", pa.string()),
        *_REPLY,
    ]
)
"""A question a row: whose answer stood first, whose second, and which of the two places was named the better one.
`outcome`: answered, unparsed, failed or not asked."""
GRADES = pa.schema([*_PLACE, ("model", pa.string()), ("grade", pa.float64()), *_REPLY])
CONTESTS = pa.schema(
    [
        *_PLACE,
        ("left", pa.string()),
        ("right", pa.string()),
        ("score", pa.float64()),
        ("left_characters", pa.int64()),
        ("right_characters", pa.int64()),
    ]
)
"""Two models on a turn: `score` is what the right one won over both orders, none where an order has no verdict."""


@dataclass(frozen=True)
class Results:
    """The tables of a judgement."""

    judgements: list[Row]
    contests: list[Row]
    grades: list[Row]

    @property
    def tables(self) -> dict[str, pa.Table]:
        """By name, as they are stored."""
        return {
            "judgements": pa.Table.from_pylist(self.judgements, JUDGEMENTS),
            "contests": pa.Table.from_pylist(self.contests, CONTESTS),
            "grades": pa.Table.from_pylist(self.grades, GRADES),
        }


def read_results(pairs: Sequence[Pair], gradings: Sequence[Grading], asking: Asking, config: JudgeConfig) -> Results:
    """What came of all questions."""
    found = Results([], [], [_grade(grading, asking, config) for grading in gradings])
    for pair in pairs:
        rows = _judgements(pair, asking, config)
        found.judgements.extend(rows)
        if not pair.sentinel:
            found.contests.append(_contest(pair, rows))
    return found


def _judgements(pair: Pair, asking: Asking, config: JudgeConfig) -> list[Row]:
    """The questions of a pair, first left's answer in front, then right's; one where both are the same question."""
    if pair.is_settled:
        return []
    forward, backward = pair.requests(config.max_tokens)
    rows = [_judgement(pair, forward, (pair.left, pair.right), asking, config)]
    if backward.key != forward.key:
        rows.append(_judgement(pair, backward, (pair.right, pair.left), asking, config))
    return rows


def _contest(pair: Pair, rows: Sequence[Row]) -> Row:
    """A pair's score from its rows in both orders; equal answers tie without a question."""
    verdicts: list[Verdict | None] = [row["verdict"] for row in rows] or ["tie", "tie"]
    forward, backward = verdicts[0], verdicts[-1]
    left, right = pair.answers
    return {
        **_place(pair.prompt, pair.turn),
        "left": pair.left,
        "right": pair.right,
        "score": contest_score(forward, backward) if forward and backward else None,
        "left_characters": len(left[-1]),
        "right_characters": len(right[-1]),
    }


def _grade(grading: Grading, asking: Asking, config: JudgeConfig) -> Row:
    """The grade of one answer."""
    request = grading.request(config.max_tokens)
    told = _reply(request, asking, config)
    return {
        **_place(grading.prompt, grading.turn),
        "model": grading.model,
        "grade": read_grade(told["answer"]) if told["outcome"] == "answered" else None,
        **told,
    }


def _judgement(pair: Pair, request: Request, models: tuple[str, str], asking: Asking, config: JudgeConfig) -> Row:
    told = _reply(request, asking, config)
    return {
        **_place(pair.prompt, pair.turn),
        "sentinel": pair.sentinel,
        "first": models[0],
        "second": models[1],
        "verdict": read_verdict(told["answer"]) if told["outcome"] == "answered" else None,
        **told,
    }


def _place(prompt: Prompt, turn: int) -> Row:
    return {"benchmark": prompt.benchmark, "prompt_id": prompt.prompt_id, "category": prompt.category, "turn": turn}


def _reply(request: Request, asking: Asking, config: JudgeConfig) -> Row:
    reply = asking.replies[request.key]
    return {
        "outcome": reply.outcome,
        "answer": reply.text,
        "fault": reply.fault,
        "seconds": reply.seconds,
        "tries": reply.tries,
        "input_tokens": reply.input_tokens,
        "output_tokens": reply.output_tokens,
        "cost": config.cost(reply.input_tokens, reply.output_tokens),
    }
