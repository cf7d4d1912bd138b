"""Samples packed into one row must not see each other, whatever the attention and the padding."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.trainer.batches import PackedCollator
from tasks.trainer.models import load_model


def packed(*samples: list[int]) -> dict[str, np.ndarray]:
    ids = np.array([token for sample in samples for token in sample])
    positions = np.array([place for sample in samples for place in range(len(sample))])
    return {"input_ids": ids, "labels": ids, "position_ids": positions}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_changed_sample_moves_no_other_logits(base: Path, attention: str) -> None:
    model = load_model(base, torch.float32, attention)
    collate = PackedCollator(padding_id=1)
    first, second, third, alone = [0, 20, 21, 22], [0, 30, 31, 32, 33], [0, 40], [0, 50, 51, 52]

    def logits(changed: list[int]) -> torch.Tensor:
        batch = collate([packed(changed, second, third), packed(alone)])
        assert batch["input_ids"].shape == (2, 11)
        with torch.no_grad():
            out: torch.Tensor = model(
                input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
            ).logits
        return out

    before, after = logits(first), logits([0, 60, 61, 62])
    assert not torch.equal(before[0, 1:4], after[0, 1:4])
    assert torch.equal(before[0, 4:], after[0, 4:])
    assert torch.equal(before[1], after[1])
    with torch.no_grad():
        assert torch.allclose(before[0, 4:9], model(torch.tensor([second])).logits[0], atol=1e-5)
        assert torch.allclose(before[1, :4], model(torch.tensor([alone])).logits[0], atol=1e-5)


def test_a_mask_or_a_cache_would_let_samples_leak(base: Path) -> None:
    """Why the collator makes none, and training uses no cache: transformers then overlooks the restarts."""
    model = load_model(base, torch.float32)
    batch = PackedCollator(padding_id=1)([packed([0, 20, 21], [0, 30, 31])])
    mask = torch.ones_like(batch["input_ids"])
    with torch.no_grad():
        inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
        isolated = model(**inputs, use_cache=False).logits
        with_mask = model(**inputs, use_cache=False, attention_mask=mask).logits
        with_cache = model(**inputs, use_cache=True).logits
    assert not torch.allclose(with_mask[0, 3:], isolated[0, 3:], atol=1e-3)
    assert not torch.allclose(with_cache[0, 3:], isolated[0, 3:], atol=1e-3)


def test_the_first_token_of_a_sample_and_padding_carry_no_loss() -> None:
    batch = PackedCollator(padding_id=9)([packed([5, 6], [7, 8]), packed([5])])
    assert batch["labels"].tolist() == [[-100, 6, -100, 8], [-100] * 4]
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8], [5, 9, 9, 9]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1], [0, 0, 1, 2]]
    assert batch["lengths"].tolist() == [4, 1]
