"""Frozen beginning: embeddings and first layers stay, the others learn."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tasks.methods.anatomy import anatomy, weights_of
from tasks.methods.method import TrainingMethod

if TYPE_CHECKING:
    import torch


class FirstLayersFrozen(TrainingMethod):
    """Freeze the embeddings and the first layers, which hold what is common to most texts; train all behind them.

    Where the output head and the input embedding are one matrix, it stays frozen in both places: the layers that learn
    can turn their output as the head needs it, and the model keeps its size.
    """

    kind: Literal["first_layers_frozen"] = "first_layers_frozen"
    """Names the method."""

    layers: int = Field(ge=1)
    """How many of the first layers are frozen, besides the embeddings."""

    def learning(self, model: Any) -> Iterable["torch.nn.Parameter"]:
        """All weights that are neither an embedding's nor of a frozen layer."""
        parts = anatomy(model)
        if self.layers >= len(parts.layers):
            raise ValueError(
                f"method.layers is {self.layers}, but the model has {len(parts.layers)} layers, of which at least one "
                f"must learn; freeze at most {len(parts.layers) - 1}, or use last_layers to train the head alone"
            )
        frozen = {id(weight) for weight in weights_of([*parts.before, *parts.layers[: self.layers]])}
        return [weight for weight in model.parameters() if id(weight) not in frozen]
