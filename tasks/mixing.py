"""Mix: how often each conversation is shown, so that the roles have the shares that the recipe asks for.

A role with more rows than its share is sampled by a stable hash; one with fewer is repeated, every row the same
number of times and some once more, and how often is reported. A share that takes more repetition than allowed is
refused, with what would make it possible.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field, field_validator

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import CURATED, DROPPED, dropped_row

DEFAULT_SHARES = {"general": 0.35, "domain": 0.30, "code": 0.20, "safety": 0.15}

MIXTURE = pa.schema([*CURATED, ("copies", pa.int32())])
"""Curated conversations with how often each is shown in an epoch."""


class MixingConfig(Config):
    """What the mixture is made of."""

    shares: dict[Literal["general", "domain", "code", "safety"], float] | None = None
    """Share of each role; .35 general, .30 domain, .20 code, .15 safety when not set, scaled to the roles there are."""
    by: Literal["rows", "tokens"] = "rows"
    """Whether shares count rows or trainable tokens."""
    total: int | None = Field(None, ge=1)
    """Rows (or tokens) of the mixture; as many as there are when not set."""
    max_copies: float = Field(4.0, ge=1)
    """Most times that a row may be shown in an epoch."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Chooses which rows are taken where a role has more than its share."""

    @field_validator("shares")
    @classmethod
    def _sensible(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        for role, share in (shares or {}).items():
            if share < 0:
                raise ValueError(f"the share of {role!r} is {share}; shares must be ≥ 0")
        if shares is not None and abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"the shares add up to {sum(shares.values()):g}; they must add up to 1")
        return shares


class ImpossibleMixtureError(Exception):
    """The shares cannot be had from the rows there are."""


@stage("mixing", version=2)
def mix(out: Attempt, config: MixingConfig, deduplicated: Artifact) -> None:
    """Give each role its share of what the model sees."""
    rows = list(out.store.rows(deduplicated, "conversations"))
    training = [row for row in rows if row["split"] == "train"]
    heldout = [row for row in rows if row["split"] == "heldout"]
    copies = choose_copies(config, training)
    kept = [{**row, "copies": count} for row, count in zip(training, copies, strict=True) if count]
    left = [row for row, count in zip(training, copies, strict=True) if not count]
    out.write("mixture", pa.Table.from_pylist(kept, MIXTURE))
    out.write("heldout", pa.Table.from_pylist(heldout, CURATED))
    out.write("dropped", pa.Table.from_pylist([dropped_row(r, "not sampled", "") for r in left], DROPPED))
    dropped = {"not sampled": len(left)} if left else {}
    out.counts = Counts(read=len(rows), kept=len(kept) + len(heldout), dropped=dropped)
    requested = requested_shares(config, {row["role"] for row in training})
    out.facts["shares"] = _shares_table(config, requested, kept)


def choose_copies(config: MixingConfig, rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """How often each row is shown. Raises `ImpossibleMixtureError` where a share cannot be had."""
    by_role: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        by_role.setdefault(row["role"], []).append(index)
    shares = requested_shares(config, by_role)
    weights = [1 if config.by == "rows" else max(1, int(row["answer_tokens"])) for row in rows]
    total = config.total if config.total is not None else sum(weights)
    copies = [0] * len(rows)
    for role, share in shares.items():
        indices = sorted(by_role.get(role, []), key=lambda i: digest([config.seed, rows[i]["id"]]))
        _fill(copies, indices, weights, round(total * share), role, config)
    return copies


def requested_shares(config: MixingConfig, available: Collection[str]) -> dict[str, float]:
    """The share of each role: as the recipe says, or the defaults scaled to the roles that have rows."""
    if not available:
        raise ImpossibleMixtureError("no row is left to train on; see what curate and deduplicate dropped, and why")
    if config.shares is not None:
        missing = sorted(role for role, share in config.shares.items() if share > 0 and role not in available)
        if missing:
            raise ImpossibleMixtureError(
                f"the mixture asks for {', '.join(missing)}, but no row has that role; "
                f"there are rows of {', '.join(sorted(available))}. Add a source, or take the share away."
            )
        return {str(role): share for role, share in config.shares.items()}
    present = {role: share for role, share in DEFAULT_SHARES.items() if role in available}
    return {role: share / sum(present.values()) for role, share in present.items()}


def _fill(
    copies: list[int], indices: Sequence[int], weights: Sequence[int], target: int, role: str, config: MixingConfig
) -> None:
    if not target:
        return
    available = sum(weights[index] for index in indices)
    if target > available * config.max_copies:
        raise ImpossibleMixtureError(
            f"{role!r} has {available:,} {config.by} and its share asks for {target:,}, "
            f"{target / available:.1f} copies of each where at most {config.max_copies:g} are allowed. "
            f"Add rows, lower the share, lower mixing.total to {int(available * config.max_copies / target * 100)} % "
            "of what it is, or raise mixing.max_copies."
        )
    whole, rest = divmod(target, available)
    for index in indices:
        extra = rest > 0
        rest -= weights[index] if extra else 0
        copies[index] = whole + extra


def _shares_table(
    config: MixingConfig, requested: Mapping[str, float], kept: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Requested against achieved, a row a source: rows shown, tokens shown, effective epochs."""
    shown_rows, shown_tokens = 0, 0
    by_source: dict[tuple[str, str], list[int]] = {}
    for row in kept:
        sums = by_source.setdefault((row["source"], row["role"]), [0, 0, 0])
        sums[0] += 1
        sums[1] += row["copies"]
        sums[2] += row["copies"] * row["answer_tokens"]
        shown_rows, shown_tokens = shown_rows + row["copies"], shown_tokens + row["copies"] * row["answer_tokens"]
    return [
        {
            "source": source,
            "role": role,
            "rows": rows,
            "shown": shown,
            "copies": round(shown / rows, 3),
            "tokens": tokens,
            "requested": round(requested[role], 4),
            "achieved": round(shown / shown_rows if config.by == "rows" else tokens / shown_tokens, 4),
        }
        for (source, role), (rows, shown, tokens) in by_source.items()
    ]
