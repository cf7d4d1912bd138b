"""What training would take, told before a device is touched: memory, time and cost; and advice on its settings."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from flows.errors import RecipeError
from flows.recipe import Inputs, Recipe
from tasks.algorithms.training.advice import Advice, Setup, advise
from tasks.algorithms.training.duration import (
    DEVICES,
    SHARE_OF_PEAK,
    Device,
    cost_of,
    known_device,
    operations_per_token,
    rows_in_all,
    seconds_of,
)
from tasks.algorithms.training.memory import Load, Memory, largest_that_fits, micro_batches, peak_memory
from tasks.algorithms.training.sizes import Learning
from tasks.artifacts import runs
from tasks.artifacts.errors import CorruptArtifactError
from tasks.artifacts.manifest import Manifest
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.config import Config
from tasks.trainer.shapes import BaseShapes, learning_of, read_shapes

CLEARLY = 1.2
"""How many times the budget an estimate from a measured speed must be to be refused; others only warn."""


class Data(Config):
    """The rows to train on."""

    rows: int
    """Packed rows."""
    tokens: int
    """Of one pass over them."""
    row_tokens: int
    """Of the longest row."""
    conversations: int
    longest_sample: int
    """Tokens of the longest conversation."""
    heldout: int
    steps: int
    """Optimiser steps of all passes."""
    trained: int
    """Tokens of all passes."""


class Measured(Config):
    """The speed of an earlier training of the same model with the same method."""

    run: str
    device: str
    tokens_per_second: float


class Forecast(Config):
    """What training would take. What cannot be known yet is none, and `unknown` says why."""

    method: str
    parameters: int | None = None
    trainable: int | None = None
    has_weights: bool = True
    """Whether the base model's folder holds weights; without them it can be planned for, and not run."""
    data: Data | None = None
    devices: int
    device: str | None = None
    """The device that it is estimated for."""
    device_bytes: int | None = None
    load: Load | None = None
    """The forward pass that is expected to be chosen, or the smallest where none fits."""
    memory: Memory | None = None
    """Of the forward pass, one process."""
    fits: bool | None = None
    seconds: float | None = None
    """Of training itself, without evaluations."""
    measured: Measured | None = None
    """What the seconds come from; the device's peak where it is none."""
    cost: float | None = None
    over_budget: str | None = None
    """By how much the estimate is over the budget, in words."""
    refused: bool = False
    """Whether it is so clearly and by a measured speed."""
    advice: tuple[Advice, ...] = ()
    unknown: tuple[str, ...] = ()


def forecast(recipe: Recipe, inputs: Inputs, store: Store, tokenized: str | None) -> Forecast:
    """What training would take; `tokenized` is the address of the rows where they are there.

    Raises `RecipeError` for a device that is not known, and for settings that are absurd.
    """
    settings = recipe.training
    base, learning, unknown = _sizes(recipe, inputs.base_model.folder)
    data = _data(recipe, store, tokenized)
    measured = _measured(recipe, inputs.base_model, store)
    device = _device(recipe, measured)
    advice = advise(_setup(recipe, base, learning, data))
    _refuse_absurd(advice)
    found: dict[str, Any] = {
        "method": settings.method.kind,
        "data": data,
        "devices": settings.devices,
        "device": measured.device if measured else device and device.name,
        "device_bytes": device and device.memory,
        "measured": measured,
        "advice": advice,
        "unknown": unknown,
    }
    if base is not None and learning is not None:
        found |= {
            "parameters": base.dimensions.parameters,
            "trainable": learning.trainable,
            "has_weights": base.has_weights,
        }
        on_cpu = measured is not None and measured.device == "cpu"
        found |= _memory(recipe, base, learning, device, data, on_cpu=on_cpu)
    found |= _time(recipe, base, learning, device, data, measured, found.get("load"))
    return Forecast(**found)


def require_sound(recipe: Recipe) -> None:
    """Refuse a recipe whose training would surely be wasted, by what the recipe and its base model tell."""
    folder = Path(recipe.base_model)
    base, learning, _ = _sizes(recipe, folder) if any(folder.glob("*.safetensors")) else (None, None, ())
    _refuse_absurd(advise(_setup(recipe, base, learning, None)))


def _refuse_absurd(advice: tuple[Advice, ...]) -> None:
    for each in advice:
        if each.absurd:
            raise RecipeError(f"{each.field} {each.sentence}")


def _sizes(recipe: Recipe, folder: Path) -> tuple[BaseShapes | None, Learning | None, tuple[str, ...]]:
    try:
        base = read_shapes(folder)
    except ValueError as error:
        return None, None, (f"the base model's sizes: {error}",)
    try:
        return base, learning_of(recipe.training.method, base), ()
    except ValueError as error:
        raise RecipeError(f"training.method cannot be used with {recipe.base_model}: {error}") from None


def _data(recipe: Recipe, store: Store, tokenized: str | None) -> Data | None:
    manifest = store.find_manifest(tokenized) if tokenized else None
    if manifest is None:
        return None
    facts, settings = manifest.facts, recipe.training
    trained_rows = rows_in_all(facts["sequences"], settings.epochs)
    heldout = manifest.tables["heldout"].rows if "heldout" in manifest.tables else 0
    return Data(
        rows=facts["sequences"],
        tokens=facts["tokens"],
        row_tokens=facts["max_length"],
        conversations=max(1, manifest.counts.kept - heldout),
        longest_sample=facts["longest_sample"],
        heldout=heldout,
        steps=math.ceil(trained_rows / settings.batch_size),
        trained=round(facts["tokens"] * trained_rows / facts["sequences"]),
    )


def _measured(recipe: Recipe, base_model: Resource, store: Store) -> Measured | None:
    method, content = recipe.training.method.identity(), base_model.content
    for run, manifest in _trainings(recipe, store):
        facts = manifest.facts
        same_base = any(p.name == "base_model" and p.content == content for p in manifest.identity.parents)
        same_share = facts.get("processes", 1) == recipe.training.devices
        if same_base and same_share and manifest.identity.config.get("method") == method:
            speed = facts.get("tokens_per_second")
            if speed:
                return Measured(run=run, device=str(facts.get("device", "cpu")), tokens_per_second=speed)
    return None


def _trainings(recipe: Recipe, store: Store) -> Iterator[tuple[str, Manifest]]:
    """The trainings of this recipe, the latest first, with the run that made each."""
    for run in runs.recent(store, recipe.name):
        for record in run.stages:
            if record.stage == "training":
                try:
                    manifest = store.find_manifest(record.address)
                except CorruptArtifactError:
                    continue
                if manifest is not None:
                    yield run.id, manifest


def _device(recipe: Recipe, measured: Measured | None) -> Device | None:
    named = recipe.training.cost.device
    if named is not None and known_device(named) is None:
        raise RecipeError(f"training.cost.device is {named}, whose speed is not known; known are {', '.join(DEVICES)}")
    if measured is not None:
        return known_device(measured.device)
    return None if named is None else known_device(named)


def _setup(recipe: Recipe, base: BaseShapes | None, learning: Learning | None, data: Data | None) -> Setup:
    settings, method = recipe.training, recipe.training.method
    some = base is not None and learning is not None and learning.trainable < base.dimensions.parameters
    adapter = {name: getattr(method, name) for name in ("rank", "alpha", "dropout", "rslora") if hasattr(method, name)}
    return Setup(
        learning="an adapter" if not method.trains_base else "some weights" if some else "every weight",
        learning_rate=settings.learning_rate,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        warmup_ratio=settings.warmup_ratio,
        weight_decay=settings.weight_decay,
        evaluations=settings.evaluations,
        heldout_rows=0 if settings.heldout_rows == 0 else min(settings.heldout_rows, data.heldout) if data else None,
        parameters=base and base.dimensions.parameters,
        rows=data and data.conversations,
        sequences=data and data.rows,
        max_length=data and data.row_tokens,
        longest_sample=data and data.longest_sample,
        **adapter,
    )


def _memory(
    recipe: Recipe, base: BaseShapes, learning: Learning, device: Device | None, data: Data | None, *, on_cpu: bool
) -> dict[str, Any]:
    """Load, memory, and whether they fit; nothing where the length of a row is not known."""
    row_tokens = data.row_tokens if data else recipe.tokenization.max_length
    if row_tokens is None:
        return {}
    settings = recipe.training
    kind: Literal["cpu", "cuda"] = "cpu" if on_cpu else "cuda"
    share, asked = settings.batch_size // settings.devices, settings.gradient_checkpointing
    loads = [
        Load(
            rows=rows,
            tokens=rows * row_tokens,
            compute_bytes=_compute_bytes(recipe, device, on_cpu=on_cpu),
            checkpointing=checkpointing,
            accumulates=rows < share,
            processes=settings.devices,
            sharded=settings.parallel == "fsdp" and settings.devices > 1,
            device=kind,
        )
        for checkpointing in ((False, True) if asked == "auto" else (asked,))
        for rows in micro_batches(share, row_tokens, kind, settings.micro_batch_size)
    ]
    if device is None:
        return {"load": loads[0], "memory": peak_memory(base.dimensions, learning, loads[0])}
    found = largest_that_fits(base.dimensions, learning, loads, device.memory)
    load, memory = found or (loads[-1], peak_memory(base.dimensions, learning, loads[-1]))
    return {"load": load, "memory": memory, "fits": found is not None}


def _compute_bytes(recipe: Recipe, device: Device | None, *, on_cpu: bool) -> Literal[2, 4]:
    if recipe.training.dtype != "auto":
        return 2 if recipe.training.dtype == "bfloat16" else 4
    return 4 if on_cpu or (device is not None and device.bfloat16 is None) else 2


def _time(
    recipe: Recipe,
    base: BaseShapes | None,
    learning: Learning | None,
    device: Device | None,
    data: Data | None,
    measured: Measured | None,
    load: Load | None,
) -> dict[str, Any]:
    """Seconds, cost, and what the budget says."""
    if data is None:
        return {}
    if measured is not None:
        seconds = data.trained / measured.tokens_per_second
    elif device is not None and base is not None and learning is not None and load is not None:
        each = operations_per_token(
            base.dimensions,
            learning,
            sample_tokens=min(data.row_tokens, data.tokens // data.conversations),
            checkpointing=load.checkpointing,
        )
        seconds = seconds_of(each * data.trained, device, load.compute_bytes, recipe.training.devices)
    else:
        return {}
    return {"seconds": seconds} | _budget(recipe, seconds, is_measured=measured is not None)


def _budget(recipe: Recipe, seconds: float, *, is_measured: bool) -> dict[str, Any]:
    """Cost, and how it stands to the budget."""
    budget, devices, hours = recipe.training.cost, recipe.training.devices, seconds / 3600
    price = budget.price_per_device_hour
    cost = None if price is None else cost_of(seconds, devices, price)
    excess, words = 0.0, []
    if budget.most_hours is not None and hours > budget.most_hours:
        excess = hours / budget.most_hours
        words.append(f"{hours:.3g} hours, and cost.most_hours is {budget.most_hours:g}")
    if budget.most is not None and cost is not None and cost > budget.most:
        excess = max(excess, cost / budget.most)
        words.append(f"{cost:.2f}, and cost.most is {budget.most:g}")
    return {"cost": cost, "over_budget": " and ".join(words) or None, "refused": is_measured and excess > CLEARLY}


def basis(told: Forecast) -> str:
    """Where the time comes from."""
    if told.measured is not None:
        return f"{told.measured.tokens_per_second:,.0f} tokens/s measured in run {told.measured.run}"
    return f"{SHARE_OF_PEAK:.0%} of its peak"
