"""Full fine-tuning: every weight learns."""

from typing import Literal

from tasks.methods.method import TrainingMethod


class Full(TrainingMethod):
    """Train every weight of the model. The strongest method, at about 16 bytes of memory a parameter."""

    kind: Literal["full"] = "full"
    """Names the method."""
