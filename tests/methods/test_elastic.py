"""Elastic weight consolidation: the Fisher information, the penalty and its pull."""

from typing import Any

import pytest
import torch

from tasks.methods import Elastic
from tasks.methods.elastic import Springs, diagonal_fisher
from tests.methods.making import DEMO, batch, learn, loaded, loss_of, samples


def _labels(*labels: int) -> dict[str, torch.Tensor]:
    values = torch.tensor([labels])
    return {"input_ids": values.clamp(min=0), "labels": values, "position_ids": torch.arange(len(labels))[None]}


def test_the_fisher_information_is_that_of_hand() -> None:
    # Logits (w, 0) whatever the input: of token 0 the gradient of -log p is p - 1, of token 1 it is p.
    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 0.5)

    def loss(sample: dict[str, torch.Tensor]) -> torch.Tensor:
        two = torch.cat([model.weight[0], torch.zeros(1)])
        targets = sample["labels"][0, 1:]
        return torch.nn.functional.cross_entropy(two.expand(len(targets), 2), targets, reduction="sum")

    p = float(torch.sigmoid(torch.tensor(0.5)))
    given = [_labels(-100, 0, 1), _labels(0, 0, -100), _labels(-100, 1, 1)]
    found = diagonal_fisher(model, [model.weight], given, loss)
    assert found is not None
    by_hand = ((p - 1 + p) ** 2 + (p - 1) ** 2 + (2 * p) ** 2) / 5
    assert found[0].item() == pytest.approx(by_hand, rel=1e-6)
    assert model.weight.grad is None


def test_the_pull_is_the_gradient_of_the_penalty() -> None:
    torch.manual_seed(1)
    weights = [torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(4))]
    origins = [torch.randn_like(weight) for weight in weights]
    fisher = [torch.rand_like(weight) for weight in weights]
    springs = Springs(7.0, weights, origins, fisher)
    penalty = sum((3.5 * f * (w - o) ** 2).sum() for w, o, f in zip(weights, origins, fisher, strict=True))
    assert isinstance(penalty, torch.Tensor)
    assert springs.value() == pytest.approx(penalty.item(), rel=1e-6)
    wanted = torch.autograd.grad(penalty, weights)
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    springs.add_gradients()
    for weight, gradient in zip(weights, wanted, strict=True):
        assert weight.grad is not None
        assert torch.allclose(weight.grad, 1 + gradient, rtol=1e-5)


def _springs(method: Elastic, model: Any) -> Springs:
    springs = method.regulariser(model, map(batch, samples(DEMO)), loss_of(model))
    assert isinstance(springs, Springs)
    return springs


def test_stiff_springs_hold_the_weights_near_the_base() -> None:
    """Plain gradient descent, as Adam scales any pull to the size of a step."""
    strained = []
    for strength in (1e-6, 100.0):
        method = Elastic(strength=strength, samples=8)
        model = method.prepare(loaded(DEMO, method))
        springs = _springs(method, model)
        assert springs.value() == 0
        for sample in 2 * samples(DEMO)[8:16]:
            inputs = batch(sample)
            model.zero_grad()
            (loss_of(model)(inputs) / (inputs["labels"] != -100).sum()).backward()
            springs.add_gradients()
            with torch.no_grad():
                for weight in springs.weights:
                    weight -= 0.004 * weight.grad
        strained.append(springs.value() / strength)
    assert 0 < strained[1] < 0.5 * strained[0]


def test_only_so_many_samples_are_looked_at_without_dropout_and_the_mode_is_kept() -> None:
    method = Elastic(samples=3)
    model = method.prepare(loaded(DEMO, method)).train()
    seen: list[bool] = []

    def watched(inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(model.training)
        return loss_of(model)(inputs)

    method.regulariser(model, map(batch, samples(DEMO)), watched)
    assert seen == [False] * 3
    assert model.training


@pytest.mark.parametrize("given", [[], [{name: torch.full((1, 4), -100) for name in ("labels", "position_ids")}]])
def test_no_general_sample_is_refused_by_name(given: list[dict[str, torch.Tensor]]) -> None:
    method = Elastic(roles=("general", "code"))
    model = method.prepare(loaded(DEMO, method))
    with pytest.raises(ValueError, match=r"no trained sample of role general or code .* method\.roles"):
        method.regulariser(model, given, lambda _: next(iter(model.parameters())).sum())


def test_learning_goes_on_under_soft_springs() -> None:
    method = Elastic(strength=1.0, samples=4)
    model = method.prepare(loaded(DEMO, method))
    springs = _springs(method, model)
    inputs = batch(samples(DEMO)[0])
    before = loss_of(model)(inputs).item()
    learn(model, DEMO, 4, springs, rate=1e-3)
    assert loss_of(model)(inputs).item() < before
    assert springs.value() > 0
