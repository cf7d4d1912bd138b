"""Mix: how often each conversation is shown, so that the roles have the shares that the recipe asks for.

A role with more rows than its share is sampled by a stable hash; one with fewer is repeated, every row the same
number of times and some once more, and how often is reported. A share that takes more repetition than allowed is
refused, with what would make it possible. Rows are chosen from their small columns, then written as they stream by.
"""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, field_validator

from tasks.algorithms.balance import apportion, drawing_order, exact, fill, largest_total, shares_table
from tasks.algorithms.diversity import diversity_table, first_prompts, task_table, task_types
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.config import Config
from tasks.conversation import CURATED, DROPPED

DEFAULT_SHARES = {"general": 0.35, "domain": 0.30, "code": 0.20, "safety": 0.15}
ROWS_PER_BATCH = 8192

MIXTURE = pa.schema([*CURATED, ("copies", pa.int32())])
"""Curated conversations with how often each is shown in an epoch."""
_CHOSEN_BY = ["id", "role", "split", "source", "file", "line", "prompt_tokens", "answer_tokens"]
_ALMOST_ALL = 0.95
_ROUNDING = Fraction(1, 1_000_000)
"""How far shares may be from what they must add up to."""
ROLES = tuple(DEFAULT_SHARES)

Shares = dict[str, Fraction]


class MixingConfig(Config):
    """What the mixture is made of."""

    shares: dict[Literal["general", "domain", "code", "safety"], float] | None = None
    """Share of each role; .35 general, .30 domain, .20 code, .15 safety when not set, scaled to the roles there are."""
    source_shares: dict[str, float] | None = None
    """Share of the whole mixture that a source gets, out of its role's; the role's other sources have the rest."""
    by: Literal["rows", "tokens"] = "rows"
    """Whether shares count rows or trainable tokens."""
    total: int | None = Field(None, ge=1)
    """Rows (or tokens) of the mixture; as many as there are when not set."""
    max_copies: float = Field(4.0, ge=1)
    """Most times that a row may be shown in an epoch, on average over its role."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Chooses which rows are taken where a role has more than its share."""

    @field_validator("shares", "source_shares")
    @classmethod
    def _not_negative(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        for name, share in (shares or {}).items():
            if not 0 <= share <= 1:
                raise ValueError(f"the share of {name!r} is {share}; shares must be ≥ 0 and at most 1")
        return shares

    @field_validator("shares")
    @classmethod
    def _whole(cls, shares: dict[str, float] | None) -> dict[str, float] | None:
        if shares is not None and abs(sum(shares.values()) - 1) > _ROUNDING:
            raise ValueError(f"the shares add up to {sum(shares.values()):g}; they must add up to 1")
        return shares


class ImpossibleMixtureError(Exception):
    """The shares cannot be had from the rows there are."""


@stage("mixing", version=2)
def mix(out: Attempt, config: MixingConfig, deduplicated: Artifact, sources: Mapping[str, str] = {}) -> None:
    """Give each role its share of what the model sees.

    `sources` are those that the recipe means to train on, with their roles: one without rows is told of.
    """
    rows = _small_columns(out, deduplicated)
    is_training = (rows["split"] == "train").to_numpy()
    training = rows.filter(pl.col("split") == "train")
    copies = np.zeros(len(rows), np.int32)
    copies[is_training] = choose_copies(config, training)
    kinds = _write(out, deduplicated, rows.with_columns(copies=copies))
    shown = rows.with_columns(copies=copies, kind=kinds).filter(pl.col("copies") > 0)
    left = int(is_training.sum()) - len(shown)
    out.counts = Counts(read=len(rows), kept=len(rows) - left, dropped={"not sampled": left} if left else {})
    gone = {name: role for name, role in sources.items() if name not in training["source"]}
    requested = requested_shares(config, training)
    out.facts["roles"], out.facts["shares"] = _shares_tables(config, requested, training, shown, gone)
    out.facts["diversity"], out.facts["task_types"] = diversity_table(shown), task_table(shown)
    for sentence in (*_absences(gone, rows), *advice(config, training, shown)):
        out.warn(sentence)


def _small_columns(out: Attempt, deduplicated: Artifact) -> pl.DataFrame:
    """What decides about the rows, in their order; texts stay where they are."""
    frames, total = [], deduplicated.tables["conversations"].rows
    for table in out.store.tables(deduplicated, "conversations", columns=_CHOSEN_BY):
        frame = pl.from_arrow(table.select(_CHOSEN_BY))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 # for the type checker
        frames.append(frame)
        out.progress(sum(map(len, frames)), total, "rows to choose from")
    return pl.concat(frames)


def choose_copies(config: MixingConfig, rows: pl.DataFrame) -> npt.NDArray[np.int32]:
    """How often each row is shown. Raises `ImpossibleMixtureError` where a share cannot be had."""
    shares = requested_shares(config, rows)
    grouped = _grouped(config, rows)
    weights = _weights(config, rows)
    sums = grouped.with_columns(weight=weights).group_by("group").agg(pl.col("weight").sum())
    available: dict[str, int] = dict(sums.iter_rows())
    total = config.total or sum(available[group] for group, share in shares.items() if share)
    _require_possible(config, total, shares, available)
    order = grouped.with_row_index("row").with_columns(key=drawing_order(rows["id"], config.seed))
    order = order.sort("key", "source", "file", "line")
    copies = np.zeros(len(rows), np.int32)
    for group, target in apportion(total, shares).items():
        if target:
            taken = order.filter(pl.col("group") == group)["row"].to_numpy()
            copies[taken] = fill(weights[taken], target)
    return copies


def _weights(config: MixingConfig, rows: pl.DataFrame) -> npt.NDArray[np.int64]:
    if config.by == "rows":
        return np.ones(len(rows), np.int64)
    return rows["answer_tokens"].cast(pl.Int64).clip(1).to_numpy()


def _grouped(config: MixingConfig, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows' places with the group that each fills: its source where that has a share of its own, else its role."""
    has_own = pl.col("source").is_in(list(config.source_shares or {}))
    group = pl.when(has_own).then(pl.format("source {}", "source")).otherwise(pl.format("role {}", "role"))
    return rows.select("source", "file", "line", group=group)


def requested_shares(config: MixingConfig, rows: pl.DataFrame) -> Shares:
    """The exact share of each group: as the recipe says, or the defaults scaled to the roles that have rows."""
    if rows.is_empty():
        raise ImpossibleMixtureError("no row is left to train on; see what curate and deduplicate dropped, and why")
    sources: dict[str, str] = dict(rows.select("source", "role").unique().iter_rows())
    roles = set(sources.values())
    asked: dict[str, float] = {role: share for role, share in DEFAULT_SHARES.items() if role in roles}
    if config.shares is not None:
        asked = {str(role): share for role, share in config.shares.items()}
    missing = sorted(role for role, share in asked.items() if share > 0 and role not in roles)
    if missing:
        raise ImpossibleMixtureError(
            f"the mixture asks for {', '.join(missing)}, but no row has that role; "
            f"there are rows of {', '.join(sorted(roles))}. Add a source, or take the share away."
        )
    whole = sum((exact(share) for share in asked.values()), Fraction())
    shares = {f"role {role}": exact(share) / whole for role, share in asked.items() if role in roles}
    return _with_source_shares(config, shares, sources)


def _with_source_shares(config: MixingConfig, shares: Shares, role_of: dict[str, str]) -> Shares:
    """The shares of roles less those of the sources that have their own."""
    own = config.source_shares or {}
    for source, share in own.items():
        if source not in role_of:
            raise ImpossibleMixtureError(
                f"mixing.source_shares names {source!r}, but no row is left of it; there are rows of "
                f"{', '.join(sorted(role_of))}. Mend the name, or take the share away."
            )
        shares[f"source {source}"] = exact(share)
        role = f"role {role_of[source]}"
        shares[role] = shares.get(role, Fraction()) - exact(share)
    for role in sorted({role_of[source] for source in own}):
        rest = shares[f"role {role}"]
        named = [source for source in own if role_of[source] == role]
        others = [source for source in role_of if role_of[source] == role and source not in own]
        if abs(rest) <= _ROUNDING and (rest < 0 or not others):
            # Nobody can write 7/13: what rounding leaves goes to the largest.
            shares[f"source {max(named, key=lambda source: (own[source], source))}"] += rest
            shares[f"role {role}"] = rest = Fraction()
        if rest < 0 or (rest > 0 and not others):
            raise ImpossibleMixtureError(
                f"the shares of {', '.join(named)} in mixing.source_shares add up to "
                f"{float(sum(exact(own[source]) for source in named)):g}, "
                f"{'more' if rest < 0 else 'less'} than the {float(rest + sum(exact(own[s]) for s in named)):g} that "
                f"their role {role} has in mixing.shares{'' if rest < 0 else ', and it has no other source'}. "
                "Make them equal, or change the role's share."
            )
        if not rest and not others:
            del shares[f"role {role}"]
    return shares


def _require_possible(config: MixingConfig, total: int, shares: Shares, available: dict[str, int]) -> None:
    max_copies = exact(config.max_copies)
    most, limiting = largest_total(available, shares, max_copies)
    if total <= most:
        return
    target, there = total * shares[limiting], available[limiting]
    # Rounded up, so that who follows the advice gets the mixture.
    copies = math.ceil(target / there * 100) / 100
    ways = [f"set mixing.total to at most {most:,}"] if most else []
    ways += [f"set mixing.max_copies to {copies:g}"]
    if config.total:
        needed = {
            group: math.ceil(total * share / max_copies) - available.get(group, 0) for group, share in shares.items()
        }
        ways += ["add " + ", ".join(f"{n:,} {config.by} to {group}" for group, n in needed.items() if n > 0)]
    raise ImpossibleMixtureError(
        f"these shares do not allow a mixture of {total:,} {config.by}: {limiting} limits it, with {there:,} "
        f"{config.by} where its share of {float(shares[limiting]):.4g} asks for {math.ceil(target):,}, "
        f"{copies:g} copies of each where at most {config.max_copies:g} are allowed. "
        f"What would do: {'; or '.join(ways)}; or other shares."
    )


def _write(out: Attempt, deduplicated: Artifact, rows: pl.DataFrame) -> npt.NDArray[np.uint8]:
    """Write each row where it belongs, batch by batch; gives the kind of task of each that is shown."""
    kinds = np.zeros(len(rows), np.uint8)
    reasons = _reasons(rows)
    done = 0
    for batch in _batches(out, deduplicated):
        chosen = rows.slice(done, len(batch))
        copies = pa.array(chosen["copies"].to_numpy())
        held = pa.array((chosen["split"] == "heldout").to_numpy())
        shown = pc.greater(copies, 0)
        left = pc.invert(pc.or_(shown, held))
        mixture = batch.append_column("copies", copies).filter(shown)
        kinds[done : done + len(batch)][shown.to_numpy(zero_copy_only=False)] = _kinds(mixture)
        out.write("mixture", mixture)
        out.write("heldout", batch.filter(held))
        out.write("dropped", _dropped(batch.filter(left), reasons))
        done += len(batch)
        out.progress(done, len(rows), "rows written")
    return kinds


def _batches(out: Attempt, deduplicated: Artifact) -> Iterator[pa.Table]:
    for table in out.store.tables(deduplicated, "conversations"):
        for start in range(0, max(1, len(table)), ROWS_PER_BATCH):
            yield table.slice(start, ROWS_PER_BATCH).cast(CURATED)


def _kinds(mixture: pa.Table) -> npt.NDArray[np.uint8]:
    return task_types(first_prompts(mixture["messages"].combine_chunks()))


def _reasons(rows: pl.DataFrame) -> dict[str, str]:
    """Why a row of a source was left out, with the numbers."""
    training = rows.filter(pl.col("split") == "train").group_by("source")
    counted = training.agg(pl.len(), taken=(pl.col("copies") > 0).sum())
    return {
        source: f"{taken:,} of the {there:,} rows of {source} fill its share"
        for source, there, taken in counted.iter_rows()
    }


def _dropped(left: pa.Table, reasons: dict[str, str]) -> pa.Table:
    evidence = pa.array([reasons[source] for source in left["source"].to_pylist()], pa.string())
    origin = [left[name] for name in DROPPED.names[:5]]
    return pa.table([*origin, pa.array(["not sampled"] * len(left), pa.string()), evidence], schema=DROPPED)


def _shares_tables(
    config: MixingConfig, requested: Shares, training: pl.DataFrame, shown: pl.DataFrame, gone: Mapping[str, str]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Requested against achieved, by role and by source; of a role's share each source asks for what it brings, and
    one that is gone for nothing."""
    there = _grouped(config, training).with_columns(weight=_weights(config, training), role=training["role"])
    of_source = there.group_by("source", "role", "group").agg(pl.col("weight").sum())
    of_group = dict(there.group_by("group").agg(pl.col("weight").sum()).iter_rows())
    asked: dict[tuple[str, ...], float] = {(role, source): 0.0 for source, role in gone.items()}
    for source, role, group, weight in of_source.iter_rows():
        asked[role, source] = float(requested.get(group, Fraction()) * weight / of_group[group])
    asked = dict(sorted(asked.items()))
    weight = "shown" if config.by == "rows" else "tokens"
    of_role: dict[str, float] = {}
    for (role, _), share in asked.items():
        of_role[role] = of_role.get(role, 0.0) + share
    roles = shares_table(shown, ("role",), {(role,): share for role, share in of_role.items()}, weight)
    return roles, shares_table(shown, ("role", "source"), asked, weight)


def _absences(gone: Mapping[str, str], rows: pl.DataFrame) -> Iterator[str]:
    """A sentence for each source that was to be trained on and has no row left for it."""
    for source in sorted(gone):
        if held := int((rows["source"] == source).sum()):
            yield (
                f"the mixture has no row of {source}: all that are left, {held:,}, are held out. Add rows to it, or "
                "take it out of the recipe."
            )
        else:
            yield (
                f"the mixture has no row of {source}: all were dropped before. `fettle show {source}:LINE` tells why a "
                "row went; if others hold copies of them, name it in deduplication.priority, else mend it, or take it "
                "out of the recipe."
            )


def advice(config: MixingConfig, training: pl.DataFrame, shown: pl.DataFrame) -> Iterator[str]:
    """What people should know of a mixture: roles that nobody asked for, and what a narrow one forgets."""
    shares = requested_shares(config, training)
    unused = training.filter(pl.col("role").is_in([role for role in ROLES if not _is_asked(shares, training, role)]))
    if len(unused):
        named = ", ".join(sorted(unused["role"].unique()))
        yield (
            f"the mixture leaves out {len(unused):,} rows of {named}, which have no share in mixing.shares. "
            "Give them one, or take their sources out."
        )
    weight = pl.col("copies").cast(pl.Int64) * (1 if config.by == "rows" else pl.col("answer_tokens"))
    sums = shown.select("role", weight=weight)
    domain = int(sums.filter(pl.col("role") == "domain")["weight"].sum()) / max(1, int(sums["weight"].sum()))
    if domain > _ALMOST_ALL and "general" not in shown["role"]:
        yield (
            f"{domain:.0%} of the mixture is domain data and none of it general: a model so trained forgets what it "
            "knew. Add a source with role general for 5 to 10 % of the mixture, as in "
            "mixing.shares {domain: 0.92, general: 0.08}."
        )


def _is_asked(shares: Shares, training: pl.DataFrame, role: str) -> bool:
    sources = training.filter(pl.col("role") == role)["source"].unique()
    return any(shares.get(group) for group in (f"role {role}", *(f"source {source}" for source in sources)))
