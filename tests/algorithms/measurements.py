"""Measurements as an evaluation makes them, of models that answer as they are told to."""

from collections.abc import Sequence
from typing import Any

from tasks.algorithms.gate.pairs import Measured, Row


def _rows(benchmark: str, form: str, number: int, cluster: str | None) -> dict[str, Any]:
    return {
        "benchmark": benchmark,
        "kind": {"choices": "multiple_choice", "generation": "generation", "text": "text"}[form],
        "form": form,
        "item_id": str(number),
        "cluster": cluster if cluster is not None else str(number),
    }


def _item(**fields: Any) -> Row:
    return {"question": "?", "prompt": "?", "choices": [], "gold": [], "answer": "", **fields}


def _answer(**fields: Any) -> Row:
    nothing = {"score": None, "shown": "", "loglikelihoods": [], "ended": True, "tokens": 1, "loss_sum": None}
    return {**nothing, "truncated": False, "prompt_sha256": f"p{fields['item_id']}", **fields}


def choices(right: Sequence[bool], benchmark: str = "b", cluster: Sequence[str] | None = None) -> Measured:
    """Multiple choice with the right answer first; a sure answer is ten times as likely as the other."""
    names = [_rows(benchmark, "choices", n, cluster[n] if cluster else None) for n in range(len(right))]
    return {
        "items": [_item(**each, choices=[" a", " b"], gold=[0]) for each in names],
        "answers": [
            _answer(
                **each,
                score=float(is_right),
                shown=" a" if is_right else " b",
                loglikelihoods=[-1.0, -3.3] if is_right else [-3.3, -1.0],
            )
            for each, is_right in zip(names, right, strict=True)
        ],
        "heldout": [],
    }


def generated(
    texts: Sequence[str],
    scores: Sequence[float | None] | None = None,
    benchmark: str = "held-out answers",
    answer: str = "42",
    kind: str = "generation",
) -> Measured:
    """Generated answers; held-out ones, that nobody scores, unless a benchmark is named."""
    names = [{**_rows(benchmark, "generation", n, None), "kind": kind} for n in range(len(texts))]
    scored = scores if scores is not None else [None] * len(texts)
    return {
        "items": [_item(**each, answer=answer) for each in names],
        "answers": [
            _answer(**each, shown=text, score=score) for each, text, score in zip(names, texts, scored, strict=True)
        ],
        "heldout": [],
    }


def documents(losses: Sequence[float], benchmark: str = "wiki") -> Measured:
    """A text benchmark of ten tokens a document."""
    names = [_rows(benchmark, "text", n, None) for n in range(len(losses))]
    answers = [_answer(**each, loss_sum=loss, tokens=10) for each, loss in zip(names, losses, strict=True)]
    return {"items": [_item(**each) for each in names], "answers": answers, "heldout": []}


def heldout(losses: Sequence[float]) -> Measured:
    """Held-out rows of ten trained tokens each."""
    rows = [{"row_id": str(n), "source": "s", "loss_sum": loss, "tokens": 10} for n, loss in enumerate(losses)]
    return {"items": [], "answers": [], "heldout": rows}


def together(*parts: Measured) -> Measured:
    """One measurement of several benchmarks."""
    return {name: [row for part in parts for row in part[name]] for name in ("items", "answers", "heldout")}
