"""When a recipe is trained again by itself, and at what cost."""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from tasks.algorithms.training.duration import cost_of
from tasks.artifacts.runs import Run
from tasks.config import Config


class RetrainingConfig(Config):
    """When the recipe is trained again by itself. Does not change what a run gives."""

    quiet_minutes: float = Field(10, ge=0)
    """How long no file of the sources may have changed before training begins."""
    longest_wait_minutes: float = Field(360, ge=0)
    """After so long a wait for quiet it begins with the sources as they are."""
    monthly_budget: float | None = Field(None, gt=0)
    """What this recipe's trainings may cost in a calendar month, by training.cost.price_per_device_hour."""
    night_retries: int = Field(0, ge=0, le=14)
    """On how many nights a run that failed for a passing reason is tried again by itself."""
    night_hour: int = Field(1, ge=0, le=23)
    """The hour at which those tries begin."""
    timezone: str = "UTC"
    """Where that hour and the budget's months are told, such as Europe/Berlin."""

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("there is no such time zone; give one like UTC or Europe/Berlin") from None
        return name


def night_after(now: datetime, config: RetrainingConfig) -> datetime:
    """When the next night's tries begin."""
    zone = ZoneInfo(config.timezone)
    local = now.astimezone(zone)
    tonight = datetime.combine(local.date(), time(config.night_hour), zone)
    # Dates are counted, not hours, as a night in which clocks are changed is no 24 hours away.
    return (
        tonight
        if tonight > local
        else datetime.combine(local.date() + timedelta(days=1), time(config.night_hour), zone)
    )


def month_began(now: datetime, config: RetrainingConfig) -> datetime:
    """When the calendar month of the budget began."""
    local = now.astimezone(ZoneInfo(config.timezone))
    return datetime.combine(local.date().replace(day=1), time(), ZoneInfo(config.timezone))


def quiet_from(now: datetime, changed: datetime | None, waiting_since: datetime, config: RetrainingConfig) -> datetime:
    """When training may begin: now, or a time ahead, while the sources changed a moment ago."""
    quiet = timedelta(minutes=config.quiet_minutes)
    if changed is None or now - waiting_since >= timedelta(minutes=config.longest_wait_minutes):
        return now
    # A file may bear a time ahead of this machine's clock.
    return max(now, min(changed, now) + quiet)


def device_cost(records: Iterable[Run], since: datetime) -> float:
    """What the trainings of some runs cost from a time on, by the price that each run's recipe told."""
    return sum(_cost(run) for run in records if datetime.fromisoformat(run.started) >= since)


def _cost(run: Run) -> float:
    training: dict[str, Any] = run.recipe.get("training", {})
    price = (training.get("cost") or {}).get("price_per_device_hour") or 0.0
    seconds = sum(record.seconds for record in run.stages if record.stage == "training" and not record.cached)
    if run.outcome == "failed" and run.making.startswith("training/"):
        # A training that failed is no stage of the record, but has cost its time.
        seconds += max(0.0, run.seconds - sum(record.seconds for record in run.stages))
    return cost_of(seconds, training.get("processes", 1) * training.get("nodes", 1), price)
