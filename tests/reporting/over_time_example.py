"""Six runs of one recipe over six weeks, and one of another."""

from datetime import UTC, datetime, timedelta

from tasks.reporting.over_time import RunFacts, RunScore

_BEGIN = datetime(2025, 3, 3, 2, 0, tzinfo=UTC)
_SCORES = (
    # held-out loss, mmlu, hellaswag, account questions
    (1.622, 31.0, 41.8, 38.5),
    (1.531, 30.9, 41.5, 47.0),
    (1.498, 26.1, 36.0, 55.5),
    (1.431, 30.6, 40.2, 58.5),
    None,
    (1.394, 30.4, 38.9, 61.0),
)
_VERDICTS = ("pass", "pass", "fail", "pass", None, "investigate")
_CHANGES = (
    {},
    {"sources.support": "7,410 → 9,120 rows"},
    {"training.learning_rate": "0.0002 → 0.001", "training.epochs": "2 → 4"},
    {"training.learning_rate": "0.001 → 0.0002", "training.epochs": "4 → 2"},
    {"base_model": "SmolLM2-135M → SmolLM2-360M"},
    {"base_model": "SmolLM2-360M → SmolLM2-135M", "mixing.shares.domain": "0.25 → 0.3"},
)


def _scores(values: tuple[float, float, float, float] | None, verdict: str | None) -> tuple[RunScore, ...]:
    if values is None:
        return ()
    loss, *rates = values
    names = ("mmlu", "hellaswag", "account questions")
    return (
        RunScore(name="held-out loss", unit="nats", better="lower", tuned=loss, verdict="pass", items="a"),
        *(
            RunScore.model_validate({"name": name, "tuned": rate, "items": "b", "verdict": verdict})
            for name, rate in zip(names, rates, strict=True)
        ),
    )


RUNS = tuple(
    RunFacts.model_validate(
        {
            "run": f"20250303-02000{number}-ab{number}f",
            "recipe": "fintech-assistant",
            "at": _BEGIN + timedelta(days=8 * number),
            "outcome": ("published", "published", "refused", "published", "failed", "refused")[number],
            "changed": _CHANGES[number],
            "verdict": _VERDICTS[number],
            "reason": "" if _VERDICTS[number] != "fail" else "mmlu fell by 4.9 points, hellaswag by 6.1.",
            "scores": _scores(_SCORES[number], _VERDICTS[number]),
            "version": {0: 1, 1: 2, 3: 3}.get(number),
            "aliases": ("production",) if number == 3 else (),
            "seconds": 3300 + 120 * number,
            "cost": "about 0.79 USD",
        }
    )
    for number in range(6)
)
