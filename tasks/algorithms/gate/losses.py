"""Losses in nats a token, paired by document."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from tasks.algorithms.gate.distributions import upper_t
from tasks.algorithms.gate.paired import Verdict, cluster_codes
from tasks.algorithms.gate.pairs import IncomparableError, Measured, Pair, Row

GRAVE_RISE = 0.5
"""Nats a token beyond what is allowed: a mean rise of more is no pass, however few documents show it."""


@dataclass(frozen=True)
class Losses:
    """Two models' summed losses of the same documents, in nats, and the documents' tokens."""

    before: Sequence[float]
    after: Sequence[float]
    tokens: Sequence[int]
    clusters: Sequence[Hashable]


def heldout_losses(before: Measured, after: Measured, reference: str) -> Losses:
    """Of the held-out rows; raises `IncomparableError` where they are not the same ones."""
    own, other = ({row["row_id"]: row for row in each["heldout"]} for each in (before, after))
    if {each: row["tokens"] for each, row in own.items()} != {each: row["tokens"] for each, row in other.items()}:
        raise IncomparableError(
            f"the {reference} and the tuned model were not measured on the same held-out rows; measure both again"
        )
    return Losses(
        [row["loss_sum"] for row in own.values()],
        [other[each]["loss_sum"] for each in own],
        [row["tokens"] for row in own.values()],
        list(own),
    )


def text_losses(pairs: Sequence[Pair]) -> Losses:
    """Of a text benchmark's documents."""
    for pair in pairs:
        if pair.before["tokens"] != pair.after["tokens"]:
            raise IncomparableError(
                f"{pair.benchmark} {pair.item['item_id']}: scored over {pair.before['tokens']} tokens by one model and "
                f"{pair.after['tokens']} by the other; a loss by token cannot be compared between tokenizers"
            )
    return Losses(
        [pair.before["loss_sum"] for pair in pairs],
        [pair.after["loss_sum"] for pair in pairs],
        [pair.after["tokens"] for pair in pairs],
        [pair.item["cluster"] for pair in pairs],
    )


def loss_row(name: str, kind: str, losses: Losses, alpha: float) -> Row:
    """Nats a token, weighted by tokens: a ratio estimate with its linearised error, clustered, both ends at `alpha`."""
    before, after, tokens = (np.asarray(each, np.float64) for each in (losses.before, losses.after, losses.tokens))
    changes = after - before
    if not np.isfinite(changes).all():
        raise IncomparableError(f"{name}: a loss is not a finite number; the weights are broken")
    total = tokens.sum()
    if not total > 0:
        raise IncomparableError(
            f"{name}: measured over {total:g} tokens; there must be some that the model is to write"
        )
    mean = float(changes.sum() / total)
    error, count = _error(changes - mean * tokens, cluster_codes(losses.clusters))
    reach = upper_t(alpha, count - 1) * error / float(total) if count > 1 else math.inf
    known = math.isfinite(reach)
    return {
        "name": name,
        "kind": kind,
        "better": "lower",
        "unit": "nats",
        "items": len(changes),
        "clusters": count,
        "base": _per_token(before, tokens),
        "tuned": _per_token(after, tokens),
        "difference": mean,
        "low": mean - reach if known else None,
        "high": mean + reach if known else None,
        "group": "loss",
    }


def loss_verdict(row: Row, allowed: float, graver: Verdict) -> Verdict:
    """`graver` where the loss surely rose, and by more than is allowed; underpowered where so few documents show a
    grave rise that it is not sure. One document decides nothing."""
    if row["low"] is None:
        return "underpowered"
    if row["low"] > 0 and row["difference"] > allowed:
        return graver
    return "underpowered" if row["difference"] > allowed + GRAVE_RISE else "pass"


def _per_token(losses: ArrayLike, tokens: ArrayLike) -> float:
    return float(np.sum(losses) / np.sum(tokens))


def _error(deviations: np.ndarray, codes: np.ndarray) -> tuple[float, int]:
    """Standard error of the sum, not below that of unclustered documents, and the number of clusters."""
    errors, counts = [], []
    for groups in (codes, np.arange(len(codes))):
        count = int(groups.max()) + 1
        if count > 1:
            sums = np.bincount(groups, deviations)
            errors.append(math.sqrt(float((sums**2).sum()) * count / (count - 1)))
            counts.append(count)
    return (max(errors), counts[0]) if errors else (math.inf, 1)
