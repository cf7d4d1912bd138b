"""What the methods share that train low-rank matrices beside frozen weights."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from tasks.methods.method import TrainingMethod

if TYPE_CHECKING:
    import torch

ModuleName = Annotated[str, Field(min_length=1)]


class AdapterMethod(TrainingMethod):
    """Train low-rank matrices beside the frozen weights; they are merged into the model at the end."""

    rank: int = Field(default=16, ge=1)
    """Rank of the added matrices: more rank, more capacity and memory."""

    alpha: float = Field(default=32, gt=0)
    """Scale of the added matrices: their product is multiplied by alpha / rank."""

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the inputs of the added matrices that is dropped while training."""

    target_modules: Literal["all-linear"] | Annotated[list[ModuleName], Field(min_length=1)] = "all-linear"
    """Which layers get matrices: every linear layer but the output head, or a list of layer names."""

    rslora: bool = False
    """Scale by alpha / √rank instead, which keeps high ranks learning (arXiv 2312.03732)."""

    start_from: str | None = Field(default=None, min_length=1)
    """Folder of an adapter in peft's format, of the same shape and scale, to go on from."""

    trains_base: ClassVar[bool] = False
    """The base's weights stay as they are, so they may be held in the dtype of the computation."""

    use_dora: ClassVar[bool] = False
    """Whether the length of each weight's columns learns apart from their direction."""

    def identity(self) -> dict[str, Any]:
        """All but the place of the adapter to go on from, which is known by its bytes."""
        return self.model_dump(mode="json", exclude={"start_from"})

    def prepare(self, model: Any, adapter: Path | None = None) -> Any:
        """The model with adapters beside its frozen weights: those of the folder `adapter`, or new ones.

        The start of new ones is drawn from torch's global seed.
        """
        from peft import LoraConfig, get_peft_model
        from transformers.pytorch_utils import Conv1D

        from tasks.methods.adapter_files import load_adapter

        targets = self.target_modules if isinstance(self.target_modules, str) else list(self.target_modules)
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # annotated int, but only ever divided
            lora_dropout=self.dropout,
            target_modules=targets,
            use_rslora=self.rslora,
            use_dora=self.use_dora,
            fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        )
        self._refuse_unknown_targets(model)
        prepared = get_peft_model(model, config)
        if adapter is not None:
            load_adapter(prepared, adapter)
        return prepared

    def export(self, model: Any, output: Path, dtype: "torch.dtype") -> Any:
        """Write `adapter/` in peft's format into `output`; the base with the adapter merged in, in `dtype`.

        The merge is done in float32: in bfloat16 a small update would vanish beside the weight it is added to.
        """
        from tasks.methods.adapter_files import write_adapter

        write_adapter(model, output / "adapter")
        return self.merged(model, output / "adapter").to(dtype)

    def merged(self, model: Any, adapter: Path) -> Any:
        """The base with the adapter, which lies in the folder, merged in; in float32."""
        import torch

        del adapter
        return model.to(torch.float32).merge_and_unload()

    def _refuse_unknown_targets(self, model: Any) -> None:
        """peft takes a list of which at least one name is found, and says nothing of the others."""
        if isinstance(self.target_modules, str):
            return
        names = [name for name, module in model.named_modules() if getattr(module, "weight", None) is not None]
        unknown = [each for each in self.target_modules if not any(f".{name}".endswith(f".{each}") for name in names)]
        if unknown:
            known = sorted({name.rsplit(".", 1)[-1] for name in names})
            raise ValueError(
                f"method.target_modules names {', '.join(unknown)}, but the model has no such layer; "
                f"it has {', '.join(known)}"
            )
