"""Full fine-tuning: every weight learns."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tasks.config import Config

if TYPE_CHECKING:
    import torch


class Full(Config):
    """Train every weight of the model. The strongest method, at about 16 bytes of memory a parameter."""

    kind: Literal["full"] = "full"
    """Names the method."""

    trains_base: ClassVar[bool] = True
    """The base's own weights change, so they are held in float32 while training (see `tasks.trainer.models`)."""

    def prepare(self, model: Any) -> Any:
        """The same model with every parameter trainable."""
        model.requires_grad_(True)
        return model

    def export(self, model: Any, output: Path, dtype: "torch.dtype") -> Any:
        """The trained model itself, in `dtype`; writes nothing into `output`."""
        del output
        return model.to(dtype)
