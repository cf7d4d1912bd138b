"""What people read of a comparison: items forgotten, by subject, and answers side by side."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Literal

from tasks.algorithms.behaviour import holds_answer, loops
from tasks.algorithms.gate.pairs import Pair, Row, Rows

MOST_SAMPLES = 40
_SHARES = {"lost": 16, "gained": 8, "unscored": 12, "both wrong": 2, "both right": 2}
"""How many samples of each sort there are before the rest is filled up; together all of them."""

_COLLAPSED = math.log(10)
"""A tenth of the probability on any of the choices: the model no longer answers in the form that is scored."""


def forgotten(pairs: Iterable[Pair]) -> Rows:
    """Items that were right and are wrong, the worst first within a benchmark; `drift` says what was lost."""
    lost = sorted((pair for pair in pairs if pair.lost), key=lambda pair: (pair.benchmark, *_badness(pair)))
    return [{**_shown(pair), "drift": drift(pair)} for pair in lost]


def drift(pair: Pair) -> Literal["format", "knowledge"]:
    """`format` where the answer lost its form: cut off, empty, in circles, right in other words, or none of the choices
    is likely any more; `knowledge` where it is well-formed and wrong."""
    if pair.item["form"] == "choices":
        fallen = _any_of(pair.before["loglikelihoods"]) - _any_of(pair.after["loglikelihoods"])
        return "format" if fallen > _COLLAPSED else "knowledge"
    text, answer = pair.after["shown"], pair.item["answer"].strip()
    right_in_other_words = bool(answer) and holds_answer(text, answer)
    formless = not text.strip() or not pair.after["ended"] or loops(text) or right_in_other_words
    return "format" if formless else "knowledge"


def subjects(pairs: Iterable[Pair]) -> Rows:
    """Scores by cluster, worst first, of benchmarks with several clusters and two items or more in each, on average."""
    found: dict[str, dict[str, list[Pair]]] = {}
    for pair in pairs:
        if pair.scored:
            found.setdefault(pair.benchmark, {}).setdefault(pair.item["cluster"], []).append(pair)
    rows = [
        _subject(benchmark, cluster, members)
        for benchmark, clusters in found.items()
        if 1 < len(clusters) <= sum(map(len, clusters.values())) / 2
        for cluster, members in clusters.items()
    ]
    return sorted(rows, key=lambda row: (row["difference"], -row["items"], row["benchmark"], row["subject"]))


def samples(pairs: Sequence[Pair]) -> Rows:
    """Up to 40 items: the worst regressions, gains, held-out answers and some that stayed, spread over benchmarks.

    The same pairs give the same samples; which of the harmless ones is left to a hash.
    """
    sorts: dict[str, list[Pair]] = {why: [] for why in _SHARES}
    for pair in pairs:
        if pair.item["form"] != "text":
            sorts[why(pair)].append(pair)
    ordered = {name: _spread(members) for name, members in sorts.items()}
    chosen = [pair for name, most in _SHARES.items() for pair in ordered[name][:most]]
    left = [pair for name, most in _SHARES.items() for pair in ordered[name][most:]]
    chosen += left[: MOST_SAMPLES - len(chosen)]
    chosen.sort(key=lambda pair: list(_SHARES).index(why(pair)))
    return [
        {**_shown(pair), "base_right": pair.was_right, "tuned_right": pair.is_right, "why": why(pair)}
        for pair in chosen
    ]


def why(pair: Pair) -> str:
    """What sort of sample an item is."""
    if not pair.scored:
        return "unscored"
    if pair.lost or pair.gained:
        return "lost" if pair.lost else "gained"
    return "both right" if pair.is_right else "both wrong"


def _spread(pairs: Sequence[Pair]) -> list[Pair]:
    """The worst of each benchmark, then the second worst of each, and so on."""
    by_benchmark: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_benchmark.setdefault(pair.benchmark, []).append(pair)
    ranked = [sorted(members, key=_badness) for members in by_benchmark.values()]
    return [pair for row in zip_longest(*ranked) for pair in row if pair is not None]


def _badness(pair: Pair) -> tuple[float, float, str]:
    """Sorts the worst regression first: by score, by how far the right choice fell behind the others, by a hash."""
    fallen = 0.0
    if pair.scored and pair.item["form"] == "choices":
        fallen = _margin(pair, pair.before) - _margin(pair, pair.after)
    gone = pair.before["score"] - pair.after["score"] if pair.scored else 0.0
    return -gone, -fallen, hashlib.sha256(pair.item["item_id"].encode()).hexdigest()


def _margin(pair: Pair, answer: Row) -> float:
    """Log-likelihood of the right choices over that of the wrong ones."""
    right: list[float] = []
    wrong: list[float] = []
    for place, each in enumerate(answer["loglikelihoods"]):
        (right if place in pair.item["gold"] else wrong).append(each)
    return max(right) - max(wrong) if right and wrong else 0.0


def _any_of(loglikelihoods: Sequence[float]) -> float:
    most = max(loglikelihoods)
    return most + math.log(math.fsum(math.exp(each - most) for each in loglikelihoods))


def _subject(benchmark: str, cluster: str, pairs: Sequence[Pair]) -> Row:
    before, after = (
        100 * math.fsum(answer["score"] for answer in side) / len(pairs)
        for side in ([pair.before for pair in pairs], [pair.after for pair in pairs])
    )
    return {
        "benchmark": benchmark,
        "subject": cluster,
        "items": len(pairs),
        "base": before,
        "tuned": after,
        "difference": after - before,
        "lost": sum(pair.lost for pair in pairs),
        "gained": sum(pair.gained for pair in pairs),
    }


def _shown(pair: Pair) -> Row:
    item = pair.item
    right = " / ".join(item["choices"][place].strip() for place in item["gold"]) if item["choices"] else item["answer"]
    return {
        "benchmark": item["benchmark"],
        "item_id": item["item_id"],
        "subject": item["cluster"],
        "question": item["question"],
        "expected": right,
        "base": pair.before["shown"].strip(),
        "tuned": pair.after["shown"].strip(),
    }
