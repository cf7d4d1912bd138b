"""What a judgement comes to: who wins how often, and whether its judge can be believed."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

from tasks.algorithms.judgement.length_control import length_controlled
from tasks.algorithms.judgement.ratings import Contest, bradley_terry
from tasks.algorithms.judgement.verdicts import consistency, first_position_rate
from tasks.algorithms.judgement.win_rate import by_prompt, win_rate
from tasks.judging.asking import Asking
from tasks.judging.config import JudgeConfig
from tasks.judging.results import Results

Rows = Sequence[dict[str, Any]]

_LOWEST_GRADE, _HIGHEST_GRADE = 1, 10


def believed(config: JudgeConfig, asking: Asking, results: Results) -> tuple[dict[str, Any], list[str]]:
    """Figures of the judge itself, and the reasons, if any, why its verdicts must not be counted."""
    replies = asking.replies.values()
    # What nobody can read is no right answer to a trick question: a judge may balk at spoiled answers alone.
    sentinels = [row for row in results.judgements if row["sentinel"] and row["outcome"] in ("answered", "unparsed")]
    wrong = sum(not _is_right(row) for row in sentinels)
    real = [row for row in results.judgements if not row["sentinel"]]
    figures = {
        "questions": len(asking.requests),
        "cached": asking.cached,
        "unparsed": asking.count("unparsed"),
        "failed": asking.count("failed"),
        "not_asked": asking.count("not asked"),
        "sentinels": len(sentinels),
        "wrong_sentinels": wrong,
        "first_position_rate": first_position_rate(row["verdict"] for row in real if row["verdict"]),
        "consistency": consistency(_both_orders(real)),
        "input_tokens": sum(reply.input_tokens for reply in replies),
        "output_tokens": sum(reply.output_tokens for reply in replies),
        "cost": sum(config.cost(reply.input_tokens, reply.output_tokens) for reply in replies),
    }
    return figures, _faults(config, asking, len(sentinels), wrong, bool(scored(results.contests)))


def _faults(config: JudgeConfig, asking: Asking, sentinels: int, wrong: int, is_scored: bool) -> list[str]:
    found = []
    if asking.is_void:
        unparsed, failed = asking.count("unparsed"), asking.count("failed")
        found.append(
            f"{unparsed + failed} of {len(asking.requests)} questions stayed without a readable answer ({unparsed} "
            f"unreadable, {failed} failed{_commonest(asking)}); the limit is {config.max_unparsed:.0%}"
        )
    if config.sentinels and not sentinels:
        found.append("no sentinel was judged, so nothing shows that the judge can tell good answers from spoiled ones")
    elif wrong > config.max_wrong_sentinels * sentinels:
        found.append(
            f"{wrong} of {sentinels} sentinels were judged wrongly; the limit is {config.max_wrong_sentinels:.0%}"
        )
    if not is_scored:
        found.append("no prompt has a verdict in both orders")
    return found


def _commonest(asking: Asking) -> str:
    faults = Counter(" ".join(reply.fault.split()) for reply in asking.replies.values() if reply.outcome == "failed")
    return "".join(f", {number} with {fault}" for fault, number in faults.most_common(1))


def comparisons(contests: Rows, models: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Each two models, the later one's win rate against the earlier one: a row for a table."""
    made = []
    for left, right in combinations(models, 2):
        chosen = [each for each in contests if (each["left"], each["right"]) == (left, right)]
        if counted := scored(chosen):
            made.append({"model": right, "opponent": left, **_rates(counted, seed)})
    return made


def categories(contests: Rows, model: str, opponent: str, seed: int) -> list[dict[str, Any]]:
    """One model's win rate against another by category; nothing where there is only one."""
    counted = scored(each for each in contests if (each["left"], each["right"]) == (opponent, model))
    names = list(dict.fromkeys((each["benchmark"], each["category"]) for each in counted))
    if len(names) < 2:
        return []
    made = []
    for benchmark, category in names:
        chosen = [each for each in counted if (each["benchmark"], each["category"]) == (benchmark, category)]
        rate = win_rate(by_prompt(_prompts(chosen), [each["score"] for each in chosen]), seed)
        told = {"prompts": rate.prompts, "rate": rate.mean, "low": rate.low, "high": rate.high}
        made.append({"benchmark": benchmark, "category": category, **told})
    return made


def ratings(contests: Rows, models: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """Elo of three models or more; two models have a win rate, which says the same."""
    if len(models) < 3:
        return []
    counted = scored(contests)
    fought = [
        Contest(prompt, each["left"], each["right"], each["score"])
        for prompt, each in zip(_prompts(counted), counted, strict=True)
    ]
    return [
        {"model": each.model, "elo": each.elo, "low": each.low, "high": each.high, "contests": each.contests}
        for each in bradley_terry(fought, models, seed)
    ]


def mean_grades(grades: Rows, models: Sequence[str], seed: int) -> list[dict[str, Any]]:
    """The mean grade of each model, overall and by turn, over prompts whose every turn has a grade of every model."""
    ungraded = {(row["benchmark"], row["prompt_id"]) for row in grades if row["grade"] is None}
    whole = [row for row in grades if (row["benchmark"], row["prompt_id"]) not in ungraded]
    made = []
    for model in models:
        own = [row for row in whole if row["model"] == model]
        if not own:
            continue
        span = _HIGHEST_GRADE - _LOWEST_GRADE
        found = win_rate(by_prompt(_prompts(own), [(row["grade"] - _LOWEST_GRADE) / span for row in own]), seed)
        mean, low, high = (_LOWEST_GRADE + span * each for each in (found.mean, found.low, found.high))
        turns = {f"turn_{turn}": _mean([row["grade"] for row in own if row["turn"] == turn]) for turn in (1, 2)}
        made.append({"model": model, "prompts": found.prompts, "mean": mean, "low": low, "high": high, **turns})
    return made


def _rates(contests: Rows, seed: int) -> dict[str, Any]:
    prompts = _prompts(contests)
    scores = by_prompt(prompts, [each["score"] for each in contests])
    longer_by = by_prompt(prompts, [float(each["right_characters"] - each["left_characters"]) for each in contests])
    rate, level = win_rate(scores, seed), length_controlled(scores, longer_by, seed)
    return {
        "prompts": rate.prompts,
        "rate": rate.mean,
        "low": rate.low,
        "high": rate.high,
        "resolves": rate.resolves,
        "length_controlled": level.mean if level else None,
        "length_controlled_low": level.low if level else None,
        "length_controlled_high": level.high if level else None,
        "longer_by": float(longer_by.mean()),
        "wins": int((scores > 0.5).sum()),
        "ties": int((scores == 0.5).sum()),
        "losses": int((scores < 0.5).sum()),
    }


def scored(contests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Contests of prompts that lack no verdict: of two turns, one alone would be another measure."""
    told = list(contests)
    missing = {(each["benchmark"], each["prompt_id"]) for each in told if each["score"] is None}
    return [each for each in told if (each["benchmark"], each["prompt_id"]) not in missing]


def _prompts(rows: Rows) -> list[tuple[str, str]]:
    return [(row["benchmark"], row["prompt_id"]) for row in rows]


def _both_orders(judgements: Rows) -> list[tuple[Any, Any]]:
    """The verdicts of each pair's two rows, which follow one another, where both are there."""
    orders = zip(judgements[::2], judgements[1::2], strict=True)
    return [(one["verdict"], other["verdict"]) for one, other in orders if one["verdict"] and other["verdict"]]


def _is_right(sentinel: dict[str, Any]) -> bool:
    if sentinel["sentinel"] == "equal":
        return bool(sentinel["verdict"] == "tie")
    return bool(sentinel["verdict"] == ("first" if sentinel["second"] == "spoiled" else "second"))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
