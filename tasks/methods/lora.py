"""LoRA: small low-rank matrices learn beside frozen weights (Hu et al., arXiv 2106.09685)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from tasks.config import Config

if TYPE_CHECKING:
    import torch


class Lora(Config):
    """Train low-rank matrices beside the frozen weights; they are merged into the model at the end."""

    kind: Literal["lora"] = "lora"
    """Names the method."""

    rank: int = Field(default=16, ge=1)
    """Rank of the added matrices: more rank, more capacity and memory."""

    alpha: float = Field(default=32, gt=0)
    """Scale of the added matrices: their product is multiplied by alpha / rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the inputs of the added matrices that is dropped while training."""

    target_modules: Literal["all-linear"] | list[str] = "all-linear"
    """Which layers get matrices: every linear layer but the output head, or a list of layer names."""

    rslora: bool = False
    """Scale by alpha / √rank instead, which keeps high ranks learning (arXiv 2312.03732)."""

    trains_base: ClassVar[bool] = False
    """The base's weights stay as they are, so they may be held in the dtype of the computation."""

    def prepare(self, model: Any) -> Any:
        """The model with adapters beside its frozen weights; their start is drawn from torch's global seed."""
        from peft import LoraConfig, get_peft_model

        targets = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # annotated int, but only ever divided
            lora_dropout=self.dropout,
            target_modules=targets,
            use_rslora=self.rslora,
        )
        return get_peft_model(model, config)

    def export(self, model: Any, output: Path, dtype: "torch.dtype") -> Any:
        """Write `adapter/` in peft's format into `output`; the base with the adapter merged in, in `dtype`.

        The merge is done in float32: in bfloat16 a small update would vanish beside the weight it is added to.
        """
        import torch

        folder = output / "adapter"
        for config in model.peft_config.values():
            # The path on the training machine is of no use to anybody else; peft would put it back for None.
            config.base_model_name_or_path = ""
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)  # peft's empty model card
        return model.to(torch.float32).merge_and_unload().to(dtype)
