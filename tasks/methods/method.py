"""What every training method offers: how a model is loaded, prepared, held back and exported."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.config import Config
from tasks.methods.regulariser import Regulariser

if TYPE_CHECKING:
    import torch


class TrainingMethod(Config):
    """Train the model's own weights: all of them, unless the method says which."""

    kind: str
    """Names the method."""

    trains_base: ClassVar[bool] = True
    """Whether the base's own weights change; they are held in float32 then (see `tasks.trainer.models`)."""

    def load_settings(self, device: str) -> dict[str, Any]:
        """Keywords of `from_pretrained` for a torch device such as `cuda`; ValueError where it cannot be used there."""
        del device
        return {}

    def prepare(self, model: Any, adapter: Path | None = None) -> Any:
        """The same model, in which the weights that learn require gradients and no others do."""
        if adapter is not None:
            raise ValueError(
                f"method {self.kind} cannot go on from the adapter in {adapter}; it trains the model's own weights. "
                "Merge the adapter into the base model first, or use the method that made it."
            )
        model.requires_grad_(False)
        for weight in self.learning(model):
            weight.requires_grad_(True)
        return model

    def learning(self, model: Any) -> Iterable["torch.nn.Parameter"]:
        """The weights that learn."""
        weights: Iterable[torch.nn.Parameter] = model.parameters()
        return weights

    def regulariser(
        self,
        model: Any,
        samples: Iterable[dict[str, "torch.Tensor"]],
        loss_of: Callable[[dict[str, "torch.Tensor"]], "torch.Tensor"],
    ) -> Regulariser | None:
        """The penalty that holds the weights back, made before the first step of a run; most methods have none.

        `samples` are the general ones, each as the model takes it; `loss_of` gives one's summed loss in nats.
        """
        del model, samples, loss_of
        return None

    def export(self, model: Any, output: Path, dtype: "torch.dtype") -> Any:
        """The trained model as a plain one, in `dtype`; `output/adapter` is written where there is an adapter."""
        del output
        return model.to(dtype)
