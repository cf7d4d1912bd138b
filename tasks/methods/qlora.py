"""QLoRA: LoRA beside weights that are held in 4 bits (Dettmers et al., arXiv 2305.14314)."""

import importlib.util
from pathlib import Path
from typing import Any, Literal

from tasks.methods.adapters import AdapterMethod


class Qlora(AdapterMethod):
    """Train low-rank matrices beside weights in 4 bits: a quarter of LoRA's memory for the base, and slower."""

    kind: Literal["qlora"] = "qlora"
    """Names the method."""

    def load_settings(self, device: str) -> dict[str, Any]:
        """4-bit NormalFloat with scales that are quantised, too, by bitsandbytes; ValueError where it does not run."""
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ValueError(
                "method qlora needs bitsandbytes, which is not installed: pip install 'fettle[qlora]', or use lora"
            )
        import bitsandbytes
        from transformers import BitsAndBytesConfig

        supported = bitsandbytes.supported_torch_devices
        if device.split(":")[0] not in supported:
            raise ValueError(
                f"method qlora cannot run on {device}: bitsandbytes {bitsandbytes.__version__} supports "
                f"{', '.join(sorted(supported))}. Use lora there."
            )
        config: Any = BitsAndBytesConfig  # its constructor has no annotations
        settings = config(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
        # Without a number transformers takes the process's current device, by its number, as accelerate demands.
        return {"quantization_config": settings} | ({"device_map": {"": device}} if ":" in device else {})

    def prepare(self, model: Any, adapter: Path | None = None) -> Any:
        """The quantised model with adapters in float32 beside its weights."""
        from bitsandbytes.nn import Linear4bit  # type: ignore[attr-defined]  # its own __all__ lacks it

        for layer in model.modules():
            if isinstance(layer, Linear4bit):
                # transformers has it compute in float32, whatever the model's own dtype.
                layer.compute_dtype, layer.compute_type_is_set = model.dtype, True
                # On processors with bfloat16 the first evaluation would pack the weights for good into a form that
                # passes no gradients on.
                layer.support_avx512bf16_for_cpu = False
        return super().prepare(model, adapter)

    def merged(self, model: Any, adapter: Path) -> Any:
        """The base taken back to float32, with the adapter merged in: merged in 4 bits it would be rounded away."""
        import torch
        from peft import PeftModel

        base = model.unload().dequantize(dtype=torch.float32).to(torch.float32)
        return PeftModel.from_pretrained(base, adapter).merge_and_unload()
