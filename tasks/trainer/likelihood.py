"""Log-probabilities of given tokens, in batches of similar length, each text by itself."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

LOGITS_BYTES = 2**30
"""Most memory for the logits of one batch, in float32."""


@dataclass(frozen=True)
class Targets:
    """Token ids of one text, and the ascending indices of those whose log-probability is wanted."""

    ids: Sequence[int] | np.ndarray
    wanted: Sequence[int]


def log_probabilities(model: Any, texts: Sequence[Targets], batch_size: int) -> Iterator[tuple[int, np.ndarray]]:
    """The number of each text, as they come, and the log-probabilities (nats, float64) of its wanted tokens."""
    for numbers in _batches(texts, batch_size, model.config.get_text_config().vocab_size):
        yield from zip(numbers, _forward(model, [texts[number] for number in numbers]), strict=True)


def logits_at(model: Any, ids: torch.Tensor, positions: torch.Tensor, **settings: Any) -> torch.Tensor:
    """Logits (rows, positions, vocabulary): the head runs only at the given positions where the model can do that."""
    if "logits_to_keep" in inspect.signature(model.forward).parameters:
        logits: torch.Tensor = model(input_ids=ids, logits_to_keep=positions, **settings).logits
        return logits
    everywhere: torch.Tensor = model(input_ids=ids, **settings).logits
    return everywhere[:, positions]


def _batches(texts: Sequence[Targets], batch_size: int, vocabulary: int) -> Iterator[list[int]]:
    """Numbers, longest texts first, so that memory runs out at once or never; no batch's logits outgrow the limit."""
    order = sorted(range(len(texts)), key=lambda number: (-len(texts[number].ids), number))
    batch: list[int] = []
    first_wanted = 0
    for number in order:
        start = min(texts[number].wanted, default=0)
        first_wanted = min(first_wanted, start) if batch else start
        positions = len(texts[batch[0] if batch else number].ids) - first_wanted
        too_large = (len(batch) + 1) * positions * vocabulary * 4 > LOGITS_BYTES
        if batch and (too_large or len(batch) == batch_size):
            yield batch
            batch, first_wanted = [], start
        batch.append(number)
    if batch:
        yield batch


@torch.inference_mode()
def _forward(model: Any, batch: Sequence[Targets]) -> list[np.ndarray]:
    """One forward pass over texts padded on the right; causal attention never looks there, so no mask is needed."""
    length = max(len(text.ids) for text in batch)
    ids = torch.zeros((len(batch), length), dtype=torch.long)
    for row, text in enumerate(batch):
        ids[row, : len(text.ids)] = torch.as_tensor(text.ids)
    ids = ids.to(model.device)
    # The head runs only where a wanted token is predicted: one position before it, in any row of the batch.
    predicting = sorted({index - 1 for text in batch for index in text.wanted})
    place = {position: number for number, position in enumerate(predicting)}
    positions = torch.tensor(predicting, dtype=torch.long, device=ids.device)
    logits = logits_at(model, ids, positions, use_cache=False)
    found = []
    for row, text in enumerate(batch):
        columns = torch.tensor([place[index - 1] for index in text.wanted], dtype=torch.long, device=ids.device)
        targets = torch.tensor([int(text.ids[index]) for index in text.wanted], dtype=torch.long, device=ids.device)
        scores = logits[row, columns].float().log_softmax(-1)
        found.append(scores.gather(-1, targets[:, None])[:, 0].double().cpu().numpy())
    return found
