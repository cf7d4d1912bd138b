"""LoRA: small low-rank matrices learn beside frozen weights (Hu et al., arXiv 2106.09685)."""

from typing import Literal

from tasks.methods.adapters import AdapterMethod


class Lora(AdapterMethod):
    """Train low-rank matrices beside the frozen weights; they are merged into the model at the end."""

    kind: Literal["lora"] = "lora"
    """Names the method."""
