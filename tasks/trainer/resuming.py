"""Checkpoints: all that a later process needs to go on as if nothing had happened, for any number of processes.

`step-N/`: `trainable.safetensors` (weights that learn), `optimizer.pt` (AdamW's state by the weights' names),
`random-R.pt` (the generators of process R), `journal.json`, `settings.json`. `best-M/`: `trainable.safetensors`.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.distributed.tensor import DTensor, distribute_tensor

WEIGHTS, OPTIMIZER, SETTINGS = "trainable.safetensors", "optimizer.pt", "settings.json"


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint after a step lies."""
    return checkpoints / f"step-{step}"


def best_folder(checkpoints: Path, step: int) -> Path:
    """Where the weights of the best evaluation lie, which was after this step."""
    return checkpoints / f"best-{step}"


def save_weights(model: Any, folder: Path) -> None:
    """Write the weights that learn; of several processes, all call it and the first writes."""
    weights = {}
    for name, weight in _learning(model):
        whole = _whole(weight).detach()  # all must take part; one needs it
        if _is_first():
            weights[name] = whole.cpu().contiguous()
    if _is_first():
        save_file(weights, folder / WEIGHTS)


def load_weights(model: Any, folder: Path) -> None:
    """Put saved weights into the model that they were saved from; ValueError where they are another model's."""
    saved = load_file(folder / WEIGHTS)
    learning = dict(_learning(model))
    if differing := sorted(saved.keys() ^ learning.keys()):
        raise ValueError(
            f"the checkpoint {folder} and the model differ in {len(differing)} weights that learn, such as "
            f"{differing[0]}. Was the method or the base model changed? Delete the checkpoint to start anew."
        )
    with torch.no_grad():
        for name, weight in learning.items():
            weight.copy_(_like(weight, saved[name]))


def save_optimizer(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Write AdamW's state by weight names; of several processes, all call it and the first writes."""
    state: dict[str, dict[str, Any]] = {}
    for name, weight in _learning(model):
        for key, value in optimizer.state.get(weight, {}).items():
            whole = _whole(value) if isinstance(value, torch.Tensor) else value
            if _is_first():
                state.setdefault(name, {})[key] = whole.cpu() if isinstance(whole, torch.Tensor) else whole
    if _is_first():
        torch.save(state, folder / OPTIMIZER)


def load_optimizer(model: Any, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """Give AdamW the state that was saved."""
    saved = torch.load(folder / OPTIMIZER, weights_only=True, map_location="cpu", mmap=True)
    for name, weight in _learning(model):
        if name not in saved:  # it never had a gradient
            continue
        # A count of steps is a number, not a tensor of the weight's shape.
        optimizer.state[weight] = {
            key: _like(weight, value) if isinstance(value, torch.Tensor) and value.dim() else _count(weight, value)
            for key, value in saved[name].items()
        }


def save_random_state(folder: Path, rank: int) -> None:
    """Write this process's random generators."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    torch.save({"cpu": torch.get_rng_state(), "cuda": cuda}, folder / f"random-{rank}.pt")


def load_random_state(folder: Path, rank: int) -> None:
    """Set this process's random generators; one that had none then keeps its own."""
    path = folder / f"random-{rank}.pt"
    if not path.is_file():
        return
    saved = torch.load(path, weights_only=True, map_location="cpu")
    torch.set_rng_state(saved["cpu"])
    if saved["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(saved["cuda"])


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """`journal.json` or `settings.json` of a checkpoint."""
    found: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return found


def write_json(folder: Path, name: str, value: dict[str, Any]) -> None:
    """Write what `read_json` reads; numbers come back as they were, to the last bit."""
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def write_whole(folder: Path, write: Callable[[Path], None], *, together: Callable[[], None]) -> None:
    """Have a folder written under another name, and named when it is whole and on the disk.

    `together` is where several processes wait for one another.
    """
    partial = folder.with_name(f".{folder.name}.partial")
    if _is_first():
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    together()
    write(partial)
    together()
    if _is_first():
        for path in partial.iterdir():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)


def _learning(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights that learn, by names that do not tell how the model is wrapped; tied weights once."""
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            yield name.removeprefix("module.").replace("_orig_mod.", ""), weight


def _whole(value: torch.Tensor) -> torch.Tensor:
    return value.full_tensor() if isinstance(value, DTensor) else value


def _like(weight: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """A saved tensor where and how the weight lies."""
    if isinstance(weight, DTensor):
        return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)
    return value.to(weight.device)


def _count(weight: torch.Tensor, value: Any) -> Any:
    return value.to(weight.device) if isinstance(value, torch.Tensor) and weight.device.type == "cuda" else value


def _is_first() -> bool:
    return os.environ.get("RANK", "0") == "0"
