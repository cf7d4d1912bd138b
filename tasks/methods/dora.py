"""DoRA: as LoRA, and the length of each weight's columns learns apart (Liu et al., arXiv 2402.09353)."""

from typing import ClassVar, Literal

from tasks.methods.adapters import AdapterMethod


class Dora(AdapterMethod):
    """Train low-rank matrices for the weights' direction and a vector for their length. Closer to full, and slower."""

    kind: Literal["dora"] = "dora"
    """Names the method."""

    use_dora: ClassVar[bool] = True
    """The length of each weight's columns learns apart from their direction."""
