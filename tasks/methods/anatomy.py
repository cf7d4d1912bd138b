"""Where a model's layers are, whatever its architecture."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Anatomy:
    """The parts of a causal language model, in the order in which they compute."""

    before: tuple["nn.Module", ...]
    """What computes before the first layer: embeddings of tokens and positions, and their norms."""
    layers: tuple["nn.Module", ...]
    after: tuple["nn.Module", ...]
    """What computes behind the last layer: the final norm."""
    head: "nn.Module"

    @property
    def tied(self) -> bool:
        """Whether head and embedding are one matrix."""
        mine = {id(weight) for weight in self.head.parameters()}
        return not mine.isdisjoint(id(weight) for weight in weights_of(self.before))


def weights_of(modules: Iterable["nn.Module"]) -> list["nn.Parameter"]:
    """All weights of some modules."""
    return [weight for module in modules for weight in module.parameters()]


def anatomy(model: Any) -> Anatomy:
    """Take a model apart. What stands before and behind the layers is seen by running it on one token."""
    from torch import nn

    decoder, head = model.get_decoder(), model.get_output_embeddings()
    count = model.config.get_text_config().num_hidden_layers
    lists = [each for each in decoder.modules() if isinstance(each, nn.ModuleList) and len(each) == count]
    if not lists or head is None:
        missing = "output head" if lists else f"list of {count} layers"
        raise ValueError(f"{type(model).__name__} has no {missing} that can be found; use method full or lora")
    layers = tuple(lists[0])
    others = [each for each in decoder.children() if each is not lists[0] and any(True for _ in each.parameters())]
    called = _order_of_calls(model, decoder, [*others, *layers])
    after = tuple(each for each in called[called.index(layers[-1]) :] if each in others)
    return Anatomy(tuple(each for each in others if each not in after), layers, after, head)


def _order_of_calls(model: Any, decoder: Any, modules: list["nn.Module"]) -> list["nn.Module"]:
    import torch

    called: list[nn.Module] = []
    hooks = [each.register_forward_pre_hook(lambda module, _: called.append(module)) for each in modules]
    was_training = decoder.training
    decoder.eval()
    try:
        with torch.no_grad():
            decoder(input_ids=torch.zeros((1, 1), dtype=torch.long, device=model.device), use_cache=False)
    finally:
        decoder.train(was_training)
        for hook in hooks:
            hook.remove()
    return called
