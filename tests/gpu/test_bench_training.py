"""The script that measures training on a GPU runs through, and counts as it says."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.gpu.bench_training import SIZES, Found, config_of, line, operations_per_token


@pytest.mark.soak
def test_a_tiny_model_runs_through_on_the_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.gpu.bench_training", "--device", "cpu", "--sizes", "tiny", "--steps", "6"]
    table = tmp_path / "table.md"
    finished = subprocess.run([*command, "--output", str(table)], capture_output=True, text=True, timeout=600)
    assert finished.returncode == 0, finished.stderr
    sides = [row.split(" | ")[1] for row in table.read_text().splitlines() if row.startswith("| tiny")]
    assert sides == ["ours", "TRL"]


@pytest.mark.parametrize("name", ["tiny", "0.5b"])
def test_operations_are_six_for_each_weight_that_multiplies(name: str) -> None:
    import torch
    from transformers import Qwen2ForCausalLM

    with torch.device("meta"):
        model = Qwen2ForCausalLM(config_of(SIZES[name]))
    matrices = [weight for key, weight in model.named_parameters() if weight.ndim == 2 and "embed_tokens" not in key]
    head = 0 if "lm_head.weight" in dict(model.named_parameters()) else model.lm_head.weight.numel()
    assert operations_per_token(SIZES[name], 0) == 6 * (sum(weight.numel() for weight in matrices) + head)


def test_the_share_is_of_the_devices_peak() -> None:
    row = line("7b", "ours", Found(10_000, 2**31, "varlen, 2 rows"), 4e10, 1e15)
    assert row == "| 7b | ours | varlen, 2 rows | 10,000 | 40.0% | 2.0 GiB |"
