"""How often to show each row, so that groups of rows have given shares of what is shown: exact, and by no row's order.

Shares and totals are fractions throughout: the largest total that is possible is exactly that.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

_GOLDEN_GAMMA = 0x9E3779B97F4A7C15


def exact(share: float) -> Fraction:
    """The number as a person wrote it: 0.35 is 7/20."""
    return Fraction(str(share))


def largest_total(
    available: Mapping[str, int], shares: Mapping[str, Fraction], max_copies: Fraction
) -> tuple[int, str]:
    """The largest total whose shares need at most so many copies of each row, and the group that limits it."""
    limits = {group: available[group] * max_copies / share for group, share in shares.items() if share > 0}
    limiting = min(limits, key=lambda group: (limits[group], group))
    return math.floor(limits[limiting]), limiting


def apportion(total: int, shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole targets that add up to the total: each share rounded down, the rest to the largest remainders."""
    quotas = {group: total * share for group, share in shares.items()}
    targets = {group: math.floor(quota) for group, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda group: (targets[group] - quotas[group], group))
    for group in by_remainder[: total - sum(targets.values())]:
        targets[group] += 1
    return targets


def drawing_order(ids: pl.Series, seed: int) -> npt.NDArray[np.uint64]:
    """A number for each hex id that decides when it is taken: even over all ids, another one for another seed."""
    # 15 hex digits are what a signed integer of 64 bits holds.
    keys = ids.str.slice(0, 15).str.to_integer(base=16).cast(pl.UInt64).to_numpy()
    return _mixed(keys + np.uint64((seed + 1) * _GOLDEN_GAMMA % 2**64))


def _mixed(keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    # The finalizer of SplitMix64 (Steele, Lea, Flood 2014): a bijection, so different ids stay different.
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def fill(weights: npt.NDArray[np.int64], target: int) -> npt.NDArray[np.int32]:
    """How often each row is shown: all equally often, the first ones once more, within half a row's weight of a target.

    Weights are positive and stand in the order in which rows are taken.
    """
    whole, rest = divmod(target, int(weights.sum()))
    reached = np.concatenate([[0], np.cumsum(weights)])
    above = int(np.searchsorted(reached, rest))
    below = max(above - 1, 0)
    taken = below if rest - reached[below] <= reached[above] - rest else above
    copies = np.full(len(weights), whole, np.int32)
    copies[:taken] += 1
    return copies


def bar(share: float, wanted: float | None = None, *, width: int = 20) -> str:
    """A share as a bar of text, with a mark where it was wanted to end."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, part = divmod(eighths, 8)
    cells = ["█"] * full + ([" ▏▎▍▌▋▊▉"[part]] if part else [])
    cells += ["░"] * (width - len(cells))
    if wanted is not None:
        cells.insert(round(max(0.0, min(1.0, wanted)) * width), "|")
    return "".join(cells)


def shares_table(
    shown: pl.DataFrame, by: Sequence[str], requested: Mapping[tuple[str, ...], float], weight: str
) -> list[dict[str, Any]]:
    """What each group of rows with their copies has of the mixture, against what was wanted; `weight` names the sum
    that shares are of: shown (rows) or tokens."""
    copies = pl.col("copies").cast(pl.Int64)
    sums = shown.group_by(by).agg(rows=pl.len(), shown=copies.sum(), tokens=(copies * pl.col("answer_tokens")).sum())
    found = {tuple(row[name] for name in by): row for row in sums.to_dicts()}
    whole = max(1, sums[weight].sum())
    table = []
    for key, wanted in requested.items():
        row = found.get(key, {"rows": 0, "shown": 0, "tokens": 0})
        achieved = row[weight] / whole
        table.append(
            {
                **dict(zip(by, key, strict=True)),
                "rows": row["rows"],
                "shown": row["shown"],
                "copies": round(row["shown"] / row["rows"], 3) if row["rows"] else 0.0,
                "tokens": row["tokens"],
                "requested": round(wanted, 4),
                "achieved": round(achieved, 4),
                "picture": bar(achieved, wanted),
            }
        )
    return table
