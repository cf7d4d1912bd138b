"""Frozen backbone: only the head, or the last layers too, learn."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tasks.methods.anatomy import anatomy, weights_of
from tasks.methods.method import TrainingMethod

if TYPE_CHECKING:
    import torch


class LastLayers(TrainingMethod):
    """Train the output head and the last layers on a frozen backbone. Fast, and it changes little of what is known.

    Where the head and the input embedding are one matrix, the head gets one of its own: training the shared one would
    change what every frozen layer is given. The model grows by that matrix, and stays so.
    """

    kind: Literal["last_layers"] = "last_layers"
    """Names the method."""

    layers: int = Field(default=2, ge=0)
    """How many of the last layers learn, with the final norm and the head; 0 trains the head alone."""

    def prepare(self, model: Any, adapter: Path | None = None) -> Any:
        """The same model, its head untied, with the backbone frozen."""
        if anatomy(model).tied:
            _untie(model)
        return super().prepare(model, adapter)

    def learning(self, model: Any) -> Iterable["torch.nn.Parameter"]:
        """The weights of the head, and of the last layers and the final norm where there are any to learn."""
        parts = anatomy(model)
        if self.layers > len(parts.layers):
            raise ValueError(
                f"method.layers is {self.layers}, but the model has {len(parts.layers)} layers; lower it, or use full"
            )
        last = [*parts.layers[len(parts.layers) - self.layers :], *parts.after] if self.layers else []
        return weights_of([*last, parts.head])


def _untie(model: Any) -> None:
    import torch

    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    for config in (model.config, model.config.get_text_config()):
        config.tie_word_embeddings = False
