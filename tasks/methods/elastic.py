"""Elastic weight consolidation: weights that general answers hang on are held back (Kirkpatrick et al. 2017)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from tasks.conversation import Role
from tasks.methods.method import TrainingMethod
from tasks.methods.regulariser import Regulariser

if TYPE_CHECKING:
    import torch


class Elastic(TrainingMethod):
    """Train every weight, each on a spring to where it began that is as strong as general answers need it there.

    The penalty strength / 2 · Σ F (w - w₀)² is added to the loss a token (arXiv 1612.00796). F is the diagonal of the
    empirical Fisher information: the squared gradient of each general sample's loss, summed over the samples and
    divided by their trained tokens. F and w₀ take 8 bytes more a parameter than full training: about 24 in all.
    """

    kind: Literal["elastic"] = "elastic"
    """Names the method."""

    strength: float = Field(default=100.0, gt=0)
    """Stiffness of the springs; 0 would be full training."""

    samples: int = Field(default=256, ge=1)
    """Most samples that F is estimated on: one backward pass each, before the first step."""

    roles: Annotated[tuple[Role, ...], Field(min_length=1)] = ("general",)
    """Roles in the mixture whose samples show what must not be forgotten."""

    def regulariser(
        self,
        model: Any,
        samples: Iterable[dict[str, "torch.Tensor"]],
        loss_of: Callable[[dict[str, "torch.Tensor"]], "torch.Tensor"],
    ) -> Regulariser:
        """The springs, to the weights as they are now: make it before a checkpoint is loaded.

        Each process must be given the same samples. ValueError where there is none.
        """
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        fisher = diagonal_fisher(model, weights, islice(samples, self.samples), loss_of)
        if fisher is None:
            raise ValueError(
                f"method elastic finds no trained sample of role {' or '.join(self.roles)} in the mixture to learn "
                "from what must not be forgotten; add a source of that role, or change method.roles"
            )
        return Springs(self.strength, weights, [weight.detach().clone() for weight in weights], fisher)


def diagonal_fisher(
    model: Any,
    weights: list["torch.nn.Parameter"],
    samples: Iterable[dict[str, "torch.Tensor"]],
    loss_of: Callable[[dict[str, "torch.Tensor"]], "torch.Tensor"],
) -> list["torch.Tensor"] | None:
    """Of each weight the squared gradient of the samples' summed losses, a trained token; None without such a token."""
    import torch

    fisher, tokens = [torch.zeros_like(weight) for weight in weights], 0
    was_training = model.training
    model.eval()  # dropout is no part of what the model knows
    for sample in samples:
        tokens += int(((sample["labels"] != -100) & (sample["position_ids"] != 0)).sum())
        model.zero_grad(set_to_none=True)
        loss_of(sample).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        for total, weight in zip(fisher, weights, strict=True):
            if weight.grad is not None:
                total.addcmul_(weight.grad, weight.grad)
    model.zero_grad(set_to_none=True)
    model.train(was_training)
    return [total.div_(tokens) for total in fisher] if tokens else None


@dataclass(frozen=True)
class Springs:
    """The penalty strength / 2 · Σ fisher · (weight - origin)²; lists of one order and of the same shapes."""

    strength: float
    weights: list["torch.nn.Parameter"]
    origins: list["torch.Tensor"]
    fisher: list["torch.Tensor"]

    def add_gradients(self) -> None:
        """Add strength · fisher · (weight - origin) to the gradients that there are."""
        for weight, origin, fisher in zip(self.weights, self.origins, self.fisher, strict=True):
            if weight.grad is not None:
                weight.grad.addcmul_(weight.detach() - origin, fisher, value=self.strength)

    def value(self) -> float:
        """The penalty, in nats a token."""
        import torch

        total = torch.zeros((), dtype=torch.float64)
        for weight, origin, fisher in zip(self.weights, self.origins, self.fisher, strict=True):
            pulled = ((weight.detach() - origin).square() * fisher).sum(dtype=torch.float64)
            # With FSDP every process holds a part of each weight.
            total += (pulled.full_tensor() if hasattr(pulled, "full_tensor") else pulled).cpu()
        return self.strength / 2 * float(total)
