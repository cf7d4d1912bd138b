"""What holds weights back while they learn."""

from typing import Protocol


class Regulariser(Protocol):
    """A penalty on weights, which is added to the loss by its gradients."""

    def add_gradients(self) -> None:
        """Add the penalty's gradients to those that the weights have: once an optimiser step, before clipping."""

    def value(self) -> float:
        """The penalty now, in nats a token like the loss."""
