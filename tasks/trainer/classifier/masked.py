"""The warm-up of a small encoder: to guess masked tokens of the texts that it will have to tell apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from tasks.trainer.child import Diverged
from tasks.trainer.classifier.batches import padded
from tasks.trainer.classifier.encoder import WarmUp
from tasks.trainer.classifier.order import Order
from tasks.trainer.classifier.rows import Numbers
from tasks.trainer.classifier.vocabulary import MASK, PAD, SPECIAL
from tasks.trainer.events import emit
from tasks.trainer.models import Machine
from tasks.trainer.schedule import learning_rate_factor

WARMUP_RATIO, WEIGHT_DECAY, BETAS, LONGEST_GRADIENT = 0.1, 0.01, (0.9, 0.98), 1.0
KEPT, RANDOM = 0.1, 0.1
"""Of the tokens to be guessed, the shares that stay as they are, and that are replaced by any other: BERT's."""


@dataclass
class MaskedTraining:
    """One warm-up."""

    model: Any
    """A `ModernBertForMaskedLM`."""
    texts: Sequence[Numbers]
    """The tokens of each text."""
    config: WarmUp
    machine: Machine
    seed: int
    losses: list[float] = field(default_factory=list)
    """Of each step that guessed anything, in nats a guessed token."""

    def run(self) -> None:
        """All epochs."""
        lengths = np.array([len(text) for text in self.texts], dtype=np.int64)
        order = Order(lengths, self.config.epochs, self.config.batch_size, self.seed)
        optimizer = torch.optim.AdamW(_groups(self.model), lr=self.config.learning_rate, betas=BETAS, fused=True)
        factor = learning_rate_factor("linear", WARMUP_RATIO, order.steps)
        self.model.train()
        dropout = self.model.model.embeddings.drop
        share, dropout.p = dropout.p, 0.0  # what is masked is hidden enough
        for number in range(order.steps):
            for group in optimizer.param_groups:
                group["lr"] = self.config.learning_rate * factor(number)
            loss = self._loss([self.texts[row] for row in order.step(number)], number)
            if loss is not None:
                self._learn(loss, optimizer, number)
                emit("progress", part="warm-up", step=number + 1, total=order.steps, loss=self.losses[-1])
        dropout.p = share

    def _learn(self, loss: torch.Tensor, optimizer: torch.optim.Optimizer, number: int) -> None:
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT))
        nats = float(loss.detach())
        if not (math.isfinite(norm) and math.isfinite(nats)):
            raise Diverged(
                f"the loss is {nats:g} and the gradient's length {norm:g} at step {number + 1} of the warm-up. "
                "Lower the warm-up's learning_rate."
            )
        optimizer.step()
        optimizer.zero_grad()
        self.losses.append(nats)

    def _loss(self, texts: list[Numbers], number: int) -> torch.Tensor | None:
        """Of one batch; none where nothing in it can be guessed. Only what is to be guessed meets the vocabulary."""
        ids = padded(texts, SPECIAL.index(PAD))
        inputs, guessed = self._masked(ids.numpy(), number)
        if not guessed.any():
            return None
        device, low = self.machine.device, self.machine.compute_dtype != torch.float32
        where = torch.from_numpy(guessed).to(device)
        shown = (ids != SPECIAL.index(PAD)).long().to(device)
        with torch.autocast(device.type, self.machine.compute_dtype, enabled=low):
            states = self.model.model(input_ids=torch.from_numpy(inputs).to(device), attention_mask=shown)[0]
            logits = self.model.decoder(self.model.head(states[where]))
        return functional.cross_entropy(logits.float(), ids.to(device)[where])

    def _masked(self, ids: Numbers, number: int) -> tuple[Numbers, Any]:
        generator = np.random.default_rng([self.seed, number, 2])
        guessed = (generator.random(ids.shape) < self.config.mask_ratio) & (ids >= len(SPECIAL))
        fate = generator.random(ids.shape)
        vocabulary = int(self.model.config.vocab_size)
        others = generator.integers(min(len(SPECIAL), vocabulary - 1), vocabulary, ids.shape)
        masked = np.where(guessed & (fate < 1 - KEPT - RANDOM), SPECIAL.index(MASK), ids)
        return np.where(guessed & (fate >= 1 - RANDOM), others, masked), guessed


def _groups(model: Any) -> list[dict[str, Any]]:
    weights = list(model.parameters())
    return [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [weight for weight in weights if weight.dim() <= 1], "weight_decay": 0.0},
    ]
