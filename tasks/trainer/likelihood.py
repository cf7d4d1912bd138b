"""Log-probabilities of given tokens, in batches of similar length."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LOGITS_BYTES = 2**30
"""Most memory for the logits of one batch, in float32."""


@dataclass(frozen=True)
class Targets:
    """Token ids of one text, and the ascending indices (at least 1) of those whose log-probability is wanted."""

    ids: list[int]
    wanted: list[int]


def log_probabilities(
    model: Any, texts: Sequence[Targets], batch_size: int, on_batch: Callable[[int], None]
) -> list[np.ndarray]:
    """For each text the log-probabilities (nats, float64) of its wanted tokens; `on_batch` hears how many are done."""
    results: list[np.ndarray] = [np.empty(0)] * len(texts)
    done = 0
    for indices in _batches(texts, batch_size, model.config.get_text_config().vocab_size):
        batch = [texts[index] for index in indices]
        for index, values in zip(indices, _forward(model, batch), strict=True):
            results[index] = values
        done += len(indices)
        on_batch(done)
    return results


def _batches(texts: Sequence[Targets], batch_size: int, vocabulary: int) -> Iterator[list[int]]:
    """Indices, longest texts first, so that memory runs out at once or never; no batch's logits outgrow the limit."""
    order = sorted(range(len(texts)), key=lambda index: (-len(texts[index].ids), index))
    batch: list[int] = []
    first_wanted = 0
    for index in order:
        start = min(texts[index].wanted, default=0)
        first_wanted = min(first_wanted, start) if batch else start
        positions = len(texts[batch[0] if batch else index].ids) - first_wanted
        too_large = (len(batch) + 1) * positions * vocabulary * 4 > LOGITS_BYTES
        if batch and (too_large or len(batch) == batch_size):
            yield batch
            batch, first_wanted = [], start
        batch.append(index)
    if batch:
        yield batch


@torch.inference_mode()
def _forward(model: Any, batch: Sequence[Targets]) -> Iterator[np.ndarray]:
    """One forward pass over texts padded on the right; causal attention never looks there, so no mask is needed."""
    length = max(len(text.ids) for text in batch)
    ids = torch.zeros((len(batch), length), dtype=torch.long)
    for row, text in enumerate(batch):
        ids[row, : len(text.ids)] = torch.tensor(text.ids)
    ids = ids.to(model.device)
    # The head runs only where a wanted token is predicted: one position before it, in any row of the batch.
    predicting = sorted({index - 1 for text in batch for index in text.wanted})
    place = {position: number for number, position in enumerate(predicting)}
    logits = _logits(model, ids, torch.tensor(predicting, dtype=torch.long, device=ids.device))
    for row, text in enumerate(batch):
        columns = torch.tensor([place[index - 1] for index in text.wanted], dtype=torch.long, device=ids.device)
        targets = torch.tensor([text.ids[index] for index in text.wanted], dtype=torch.long, device=ids.device)
        scores = logits[row, columns].float().log_softmax(-1)
        yield scores.gather(-1, targets[:, None])[:, 0].double().cpu().numpy()


def _logits(model: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Logits (rows, positions, vocabulary) at the given positions."""
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        logits: torch.Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=positions).logits
        return logits
    everywhere: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return everywhere[:, positions]
