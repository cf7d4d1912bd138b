"""The proof that samples in one batch do not see each other: one is changed, and no other's logits may move.

It is made of rows of the run, before the first step, with the model, attention, precision and device of the run, and
with the very arguments that a training step gives the model.
"""

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from tasks.trainer.batches import COLUMNS, Batch, PackedCollator
from tasks.trainer.child import Diverged
from tasks.trainer.events import emit
from tasks.trainer.head import trained_loss
from tasks.trainer.models import attention_of

MOST_SAMPLES = 3
"""Of a row: the one that is changed, with a neighbour on either side."""

MOST_TOKENS = 64
"""Of a sample; enough for every kind of leak, and few enough for the logits of a large vocabulary."""

ROUNDING = {torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.15}
"""How far logits of the same tokens may lie apart that were computed in another batch, by precision."""


class LeakError(ValueError):
    """Samples that share a row would learn from each other."""


def prove_isolation(
    model: Any, accelerator: Accelerator, rows: Dataset, packed_row: int, collator: PackedCollator
) -> dict[str, Any] | None:
    """Facts of the proof; None where no batch holds two samples. Raises `LeakError`."""
    probed = _probe(rows, packed_row)
    samples = _samples(probed)
    if len(samples) < 2:
        return None
    was_training = model.training
    model.eval()
    with torch.no_grad(), accelerator.autocast():
        named = _arguments_of_a_step(model, collator(probed).on(accelerator.device))
        before = model(**named).logits
        where = _places(probed, named["input_ids"].shape)
        changed = max(0, len(_samples(probed[:1])) - 2)  # what follows it stands in the same row, where it does in any
        vocabulary = accelerator.unwrap_model(model).get_input_embeddings().num_embeddings
        ids = named["input_ids"].clone()
        ids.view(-1)[where[changed]] = (ids.view(-1)[where[changed]] + 1) % vocabulary
        after = model(**named | {"input_ids": ids}).logits
        other = changed + 1
        single = torch.as_tensor(samples[other], device=ids.device)[None]
        alone = model(input_ids=single, use_cache=False).logits
    model.train(was_training)
    flat_before, flat_after = (logits.flatten(0, 1) for logits in (before, after))
    moved = [_distance(flat_before[places], flat_after[places]) for places in where]
    apart = _distance(alone[0], flat_before[where[other]])
    setting = {
        "attention": attention_of(accelerator.unwrap_model(model)),
        "dtype": _name(before.dtype),
        "device": before.device.type,
    }
    _judge(moved, changed, apart, before.dtype, setting)
    facts = setting | {
        "samples": len(samples),
        "changed_moved": round(moved[changed], 6),
        "others_moved": max(each for number, each in enumerate(moved) if number != changed),
        "alone_differs": round(apart, 9),
    }
    emit("isolated", **facts)
    return facts


def _judge(moved: list[float], changed: int, apart: float, dtype: torch.dtype, setting: dict[str, Any]) -> None:
    told = ", ".join(setting.values())
    limit = torch.finfo(dtype).eps
    if not np.isfinite([*moved, apart]).all():
        raise Diverged(f"the model gives logits that are not finite before the first step ({told}). Check its weights.")
    if moved[changed] <= limit:
        raise LeakError(
            f"the proof that packed samples are isolated cannot be made: other tokens moved their own logits by "
            f"{moved[changed]:.2g} only ({told}). Check the model's weights, or set tokenization.packing to false and "
            "training.micro_batch_size to 1."
        )
    leaks = max(each for number, each in enumerate(moved) if number != changed)
    if leaks > limit or apart > ROUNDING[dtype]:
        fault = (
            f"changing one sample moved the logits of another by {leaks:.2%}"
            if leaks > limit
            else f"a sample's logits differ by {apart:.2%} from those it has alone"
        )
        raise LeakError(
            f"packed samples are not isolated: {fault} ({told}). Nothing was trained. Set training.attention to "
            "sdpa, eager or flash_attention_2, whichever keeps them apart with this model, or set "
            "tokenization.packing to false."
        )


def _probe(rows: Dataset, packed_row: int) -> list[dict[str, Any]]:
    """The beginnings of the first samples of a packed row, and of one more row where there is one."""
    numbers = [packed_row] if len(rows) == 1 else [packed_row, (packed_row + 1) % len(rows)]
    return [_cut(rows[number]) for number in numbers]


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    positions = np.asarray(row["position_ids"])
    number = np.cumsum(positions == 0) - 1
    kept = (number < MOST_SAMPLES) & (positions < MOST_TOKENS)
    return {name: np.asarray(row[name])[kept] for name in COLUMNS}


def _samples(rows: list[dict[str, Any]]) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for row in rows:
        found += np.split(row["input_ids"].astype(np.int64), np.flatnonzero(row["position_ids"] == 0)[1:])
    return found


def _places(rows: list[dict[str, Any]], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Of each sample, where its tokens stand in the flattened batch: rows under one another, or behind one another."""
    places: list[np.ndarray] = []
    begin = 0
    for row in rows:
        columns = np.arange(begin, begin + len(row["input_ids"]))
        places += np.split(columns, np.flatnonzero(row["position_ids"] == 0)[1:])
        begin += shape[1] if shape[0] == len(rows) else len(columns)
    return places


def _arguments_of_a_step(model: Any, batch: Batch) -> dict[str, Any]:
    """What the loss of a training step gives the model for these rows, but for labels and the fused head."""
    seen: list[dict[str, Any]] = []
    hook = model.register_forward_pre_hook(lambda _module, _args, named: seen.append(dict(named)), with_kwargs=True)
    try:
        trained_loss(model, batch.inputs)
    finally:
        hook.remove()
    return {name: value for name, value in seen[0].items() if name not in ("targets", "predicted_at")}


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """How far apart logits lie, as a share of their own spread; a shift of all of them means nothing."""
    first, second = (logits.float() - logits.float().mean(-1, keepdim=True) for logits in (one, other))
    return float((first - second).norm() / first.norm())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
