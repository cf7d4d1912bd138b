"""Time and cost of training, from the work of a token."""

import pytest

from tasks.algorithms.training.duration import (
    DEVICES,
    SHARE_OF_PEAK,
    cost_of,
    known_device,
    operations_per_token,
    rows_in_all,
    seconds_of,
)
from tasks.algorithms.training.sizes import AdaptedLayer, Adapters, Dimensions, Learning
from tasks.trainer.order import Order

BLOCKS, HEAD = 6_525_288_448, 32000 * 4096
LLAMA_7B = Dimensions(
    layers=32, hidden=4096, intermediate=11008, heads=32, kv_heads=32, head_dim=128, vocabulary=32000, tied=False,
    parameters=6_738_415_616, block_products=BLOCKS,
)  # fmt: skip
FULL = Learning(trainable=6_738_415_616, trains_base=True, learned_products=BLOCKS + HEAD, head_learns=True)
ADAPTED = Learning(
    trainable=40_000_000, added=40_000_000, trains_base=False, learned_products=40_000_000, head_learns=False,
    adapters=Adapters(rank=16, layers=(AdaptedLayer(reads="attention", inputs=4096, outputs=4096),)),
)  # fmt: skip


def test_full_training_takes_six_operations_a_weight_and_adapters_four() -> None:
    weights = BLOCKS + HEAD
    assert operations_per_token(LLAMA_7B, FULL, sample_tokens=1) == pytest.approx(6 * weights, rel=0.001)
    adapters = 4 * weights + 6 * 40_000_000
    assert operations_per_token(LLAMA_7B, ADAPTED, sample_tokens=1) == pytest.approx(adapters, rel=0.001)
    attention = 6 * 32 * 4096 * 2048
    longer = operations_per_token(LLAMA_7B, FULL, sample_tokens=2048)
    assert longer - operations_per_token(LLAMA_7B, FULL, sample_tokens=0) == attention


def test_checkpointing_computes_the_blocks_once_more() -> None:
    once, twice = (
        operations_per_token(LLAMA_7B, FULL, sample_tokens=2048, checkpointing=each) for each in (False, True)
    )
    assert twice - once == 2 * BLOCKS + 2 * 32 * 4096 * 2048
    assert twice / once == pytest.approx(4 / 3, rel=0.02)


def test_frozen_blocks_pass_no_gradient_unless_they_are_checkpointed() -> None:
    half = FULL.model_copy(update={"first_block": 16, "learned_products": BLOCKS // 2 + HEAD})
    frozen = operations_per_token(LLAMA_7B, half, sample_tokens=0)
    assert frozen == 2 * BLOCKS + BLOCKS + BLOCKS + 6 * HEAD
    assert operations_per_token(LLAMA_7B, half, sample_tokens=0, checkpointing=True) == frozen + BLOCKS + 2 * BLOCKS


def test_time_and_cost_follow_from_the_devices_peak() -> None:
    h100 = DEVICES["h100"]
    assert seconds_of(989e12 * SHARE_OF_PEAK * 3600, h100, 2) == pytest.approx(3600)
    assert seconds_of(989e12 * SHARE_OF_PEAK * 3600, h100, 2, devices=8) == pytest.approx(450)
    assert seconds_of(67e12 * SHARE_OF_PEAK, h100, 4) == pytest.approx(1)
    assert DEVICES["v100"].peak(2) == DEVICES["v100"].float32  # it has no bfloat16
    assert cost_of(5400, 8, 2.5) == 30


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("h100", "h100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA A100-SXM4-80GB", "a100"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("RTX-3090", "rtx3090"),
        ("Tesla V100-SXM2-32GB", "v100"),
        ("NVIDIA H200", "h200"),
        ("B200", "b200"),
        ("NVIDIA L40", None),
        ("cpu", None),
    ],
)
def test_devices_are_known_by_the_names_of_people_and_drivers(told: str, name: str | None) -> None:
    found = known_device(told)
    assert (found and found.name) == name


@pytest.mark.parametrize(("rows", "epochs"), [(10, 2), (7, 0.5), (3, 0.1), (10, 0.3), (1, 0.01), (1000, 1.1)])
def test_a_run_has_as_many_rows_as_the_trainer_will_take(rows: int, epochs: float) -> None:
    assert rows_in_all(rows, epochs) == Order(rows, epochs, 4, 0).total_rows
