"""How the models answer, whatever they say: rates of bad habits, paired and capped, and two figures of style."""

import math
from collections.abc import Sequence

from tasks.algorithms.behaviour import Behaviour, behaviour_of
from tasks.algorithms.gate.distributions import wilson
from tasks.algorithms.gate.limits import BehaviourLimits, RateLimit
from tasks.algorithms.gate.paired import Changes, Verdict, drop
from tasks.algorithms.gate.pairs import Pair, Row, Rows

NAMES = {
    "apology": "apology rate",
    "refusal": "refusal rate",
    "echo": "prompt echo",
    "loop": "loops",
    "template_leak": "template leaks",
    "not_ended": "cut off at the limit",
}
"""What each rate is called in the scores."""

REFUSALS = "refusals"
"""The kind of benchmark whose score already says whether a refusal was due."""


def behaviour_rows(pairs: Sequence[Pair], limits: BehaviourLimits, alpha: float, *, same: bool) -> Rows:
    """Rates over all generated answers; `same` models have nothing to answer for.

    Too few answers to tell fail nothing here: these are guards against the plainly bad, not the forgetting gate.
    """
    asked = [pair for pair in pairs if pair.item["form"] == "generation"]
    if not asked:
        return []
    shown = [(pair, _shown(pair, pair.before), _shown(pair, pair.after)) for pair in asked]
    rows = []
    for name in NAMES:
        counted = [each for each in shown if name != "refusal" or each[0].item["kind"] != REFUSALS]
        if counted:
            limit: RateLimit = getattr(limits, name)
            rows.append(_rate(name, counted, limit, alpha / len(NAMES), same))
    for name, note, figure in (("answer length", "words", "words"), ("distinct-2", "", "distinct_2")):
        before = [float(getattr(each, figure)) for _, each, _ in shown]
        after = [float(getattr(each, figure)) for _, _, each in shown]
        rows.append(_average(name, note, before, after))
    return rows


def _shown(pair: Pair, answer: Row) -> Behaviour:
    return behaviour_of(pair.item["question"], answer["shown"], answer["ended"])


def _rate(
    name: str, shown: Sequence[tuple[Pair, Behaviour, Behaviour]], limit: RateLimit, alpha: float, same: bool
) -> Row:
    before = [float(getattr(each, name)) for _, each, _ in shown]
    after = [float(getattr(each, name)) for _, _, each in shown]
    # A rise of the tuned model's rate is a drop from it to the other's.
    rise = drop(Changes.of(after, before, [pair.item["cluster"] for pair, _, _ in shown]), 1, alpha)
    count = len(shown)
    surely_above = 100 * wilson(math.fsum(after), count, alpha)[0]
    risen = rise.low > 0 and rise.mean > limit.rise
    over = limit.cap is not None and surely_above > limit.cap
    verdict: Verdict = "fail" if (risen or over) and not same else "pass"
    return {
        "name": NAMES[name],
        "kind": "behaviour",
        "better": "lower",
        "unit": "%",
        "items": count,
        "base": 100 * math.fsum(before) / count,
        "tuned": 100 * math.fsum(after) / count,
        "difference": rise.mean,
        "low": rise.low,
        "high": rise.high,
        "lost": sum(now > then for then, now in zip(before, after, strict=True)),
        "gained": sum(now < then for then, now in zip(before, after, strict=True)),
        "smallest_visible": rise.smallest_visible,
        "verdict": verdict,
        "group": "behaviour",
        "note": f"surely above the cap of {limit.cap:g} %" if over else "",
    }


def _average(name: str, note: str, before: Sequence[float], after: Sequence[float]) -> Row:
    """A figure of style: more of it is neither better nor worse, so that it has no interval to be judged by."""
    count = len(before)
    return {
        "name": name,
        "kind": "behaviour",
        "better": "higher",
        "unit": "",
        "items": count,
        "base": math.fsum(before) / count,
        "tuned": math.fsum(after) / count,
        "difference": (math.fsum(after) - math.fsum(before)) / count,
        "group": "behaviour",
        "note": note,
    }
