"""`python -m tests.gpu.bench_training`: our trainer against TRL's best settings, on one device, with random weights.

Prints and writes a table of tokens per second, share of peak (MFU) and memory for models of Qwen 2.5's shapes, fully
trained: weights in float32, computed in bfloat16 on GPUs. Floating-point operations of a token, forward and backward:
6 for each weight that it is multiplied by (all but the input embeddings), and 6 · layers · width · sample length for
causal attention. Recomputed activations and padding are not counted, so they lower the share.
"""

import argparse
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.algorithms.tokens.packing import pack
from tasks.trainer import launch
from tasks.trainer.job import TrainingJob

TOKENIZER = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
VOCABULARY = 151_936
PEAKS = {"B200": 2250e12, "H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12, "A10": 125e12}
"""Dense bfloat16 operations a second, by a part of the device's name, from the makers' data sheets."""
WARM_STEPS = 3


class Size(NamedTuple):
    """A model's shape, and the rows that it is trained on."""

    width: int
    inner: int
    layers: int
    heads: int
    key_heads: int
    tied: bool
    row_tokens: int = 8192
    rows_per_step: int = 8
    vocabulary: int = VOCABULARY


SIZES = {
    "tiny": Size(32, 64, 2, 4, 2, True, 128, 2, 1024),
    "0.5b": Size(896, 4864, 24, 14, 2, True),
    "1.5b": Size(1536, 8960, 28, 12, 2, True),
    "7b": Size(3584, 18944, 28, 28, 4, False),
}


class Found(NamedTuple):
    """What one side measured."""

    tokens_per_second: float
    peak_memory_bytes: int | None
    setting: str


def config_of(size: Size) -> Any:
    """The configuration in transformers' words."""
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=size.vocabulary,
        hidden_size=size.width,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.key_heads,
        max_position_embeddings=size.row_tokens,
        tie_word_embeddings=size.tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )


def operations_per_token(size: Size, mean_length: float) -> float:
    """Floating-point operations of training on one token; `mean_length` is that of the sample of a token."""
    head_width = size.width // size.heads
    attention = 2 * size.width * (size.heads + size.key_heads) * head_width
    weights = size.layers * (attention + 3 * size.width * size.inner) + size.vocabulary * size.width
    return 6 * weights + 6 * size.layers * size.width * mean_length


def write_samples(folder: Path, size: Size, steps: int) -> float:
    """Samples for TRL and packed rows for us, of lengths as instructions have; gives a token's mean sample length."""
    chosen = np.random.default_rng(0)
    wanted = size.row_tokens * size.rows_per_step * steps
    lengths = chosen.lognormal(np.log(size.row_tokens / 20), 0.8, 40 * size.rows_per_step * steps).astype(int)
    lengths = lengths.clip(4, size.row_tokens)
    lengths = lengths[: int(np.searchsorted(lengths.cumsum(), wanted)) + 1]
    ids = [chosen.integers(3, size.vocabulary, length).astype(np.int32) for length in lengths]
    labels = [np.where(np.arange(len(each)) < 0.3 * len(each), -100, each) for each in ids]
    pq.write_table(_table(input_ids=ids, labels=labels), folder / "samples.parquet")
    packed = pack(lengths, size.row_tokens)
    rows = [packed.order[begin:end] for begin, end in pairwise(packed.offsets)]
    pq.write_table(
        _table(
            input_ids=[np.concatenate([ids[sample] for sample in row]) for row in rows],
            labels=[np.concatenate([labels[sample] for sample in row]) for row in rows],
            position_ids=[np.concatenate([np.arange(lengths[sample]) for sample in row]) for row in rows],
        ),
        folder / "packed.parquet",
    )
    return float((lengths.astype(float) ** 2).sum() / lengths.sum())


def _table(**columns: list[Any]) -> pa.Table:
    return pa.table({name: pa.array(values, pa.list_(pa.int32())) for name, values in columns.items()})


def save_model(folder: Path, size: Size) -> None:
    """Random weights with a tokenizer beside them, which is not used."""
    import torch
    from transformers import AutoModelForCausalLM

    create: Any = AutoModelForCausalLM.from_config
    create(config_of(size), dtype=torch.bfloat16).save_pretrained(folder)
    for path in TOKENIZER.glob("tokenizer*"):
        shutil.copy(path, folder)


def ours(folder: Path, size: Size) -> Found:
    """The trainer's own process with the settings that it chooses."""
    speeds: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            speeds.append(event["tokens_per_second"])

    job = TrainingJob(
        base_model=folder / "model",
        sequences=[folder / "packed.parquet"],
        output=folder / "ours",
        batch_size=size.rows_per_step,
        learning_rate=1e-5,
        epochs=1,
    )
    launch.run("tasks.trainer.train", job, folder=folder / "job", on_event=on_event, on_line=lambda _: None)
    result = json.loads((folder / "ours" / "result.json").read_text())
    shutil.rmtree(folder / "ours")
    checkpointing = ", checkpointing" if result["gradient_checkpointing"] else ""
    setting = f"{result['attention']}, {result['micro_batch_size']} rows{checkpointing}"
    return Found(float(np.median(speeds[WARM_STEPS:])), result.get("peak_memory_bytes"), setting)


def best_of_trl(folder: Path, size: Size) -> Found:
    """The fastest of TRL's settings that fit into memory; each is tried in a process of its own."""
    from transformers.utils.import_utils import is_flash_attn_2_available

    attention = "flash_attention_2" if is_flash_attn_2_available() else "sdpa"
    found = []
    for rows in (each for each in (1, 2, 4) if size.rows_per_step % each == 0):
        for checkpointing in (False, True):
            asked = json.dumps([str(folder), rows, checkpointing, attention, size])
            command = [sys.executable, "-m", "tests.gpu.bench_training", "--trl", asked]
            finished = subprocess.run(command, capture_output=True, text=True, env=os.environ)
            if finished.returncode == 0:
                found.append(Found(*json.loads(finished.stdout.splitlines()[-1])))
                break  # recomputing activations would only be slower
            if "out of memory" not in finished.stderr:
                raise RuntimeError(f"TRL failed: {finished.stderr[-2000:]}")
    if not found:
        raise RuntimeError("TRL ran out of memory with every setting; choose a smaller size")
    return max(found)


def trl(folder: Path, rows: int, checkpointing: bool, attention: str, size: Size) -> Found:
    """One run of TRL: packed, padding-free, with Liger's kernels where they are installed."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from transformers.utils.import_utils import is_liger_kernel_available
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    at: list[float] = []

    class Clock(TrainerCallback):
        """Notes when steps have ended."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            at.append(time.perf_counter())

    on_gpu = torch.cuda.is_available()
    load: Any = AutoModelForCausalLM.from_pretrained
    arguments = SFTConfig(
        output_dir=str(folder / "trl"),
        num_train_epochs=1,
        learning_rate=1e-5,
        max_length=size.row_tokens,
        packing=True,
        padding_free=True,
        gradient_checkpointing=checkpointing,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=max(1, size.rows_per_step // rows),
        use_liger_kernel=is_liger_kernel_available() and on_gpu,
        use_cpu=not on_gpu,
        bf16=on_gpu,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    data = Dataset.from_parquet(str(folder / "samples.parquet"), cache_dir=str(folder / "cache"))
    trainer = SFTTrainer(
        model=load(folder / "model", dtype=torch.float32, attn_implementation=attention),
        args=arguments,
        train_dataset=data,
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        callbacks=[Clock()],
    )
    trainer.train()
    tokens = sum(map(len, data["input_ids"])) * (len(at) - WARM_STEPS) / len(at)
    memory = torch.cuda.max_memory_reserved() if on_gpu else None
    setting = f"{attention}, {rows} rows{', checkpointing' if checkpointing else ''}"
    return Found(tokens / (at[-1] - at[WARM_STEPS - 1]), memory, setting)


def line(name: str, side: str, found: Found, operations: float, peak: float | None) -> str:
    """One row of the table."""
    share = f"{found.tokens_per_second * operations / peak:.1%}" if peak else "–"
    memory = f"{found.peak_memory_bytes / 2**30:.1f} GiB" if found.peak_memory_bytes else "–"
    return f"| {name} | {side} | {found.setting} | {found.tokens_per_second:,.0f} | {share} | {memory} |"


def table(names: Sequence[str], device: str, steps: int) -> str:
    """All sizes, measured one after the other."""
    peak = next((value for part, value in PEAKS.items() if part in device), None)
    lines = [
        f"{device}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, random weights, full training, {steps} steps",
        "",
        "| size | side | settings | tokens/s | share of peak | memory |",
        "|---|---|---|---|---|---|",
    ]
    for name in names:
        size = SIZES[name]
        with tempfile.TemporaryDirectory(prefix="fettle-bench-") as temporary:
            folder = Path(temporary)
            save_model(folder / "model", size)
            operations = operations_per_token(size, write_samples(folder, size, steps))
            for side, measure in (("ours", ours), ("TRL", best_of_trl)):
                lines.append(line(name, side, measure(folder, size), operations, peak))
                print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.bench_training", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="0.5b,1.5b,7b", help=f"of {', '.join(SIZES)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, default=20, help="optimiser steps of each run")
    parser.add_argument("--output", type=Path, default=Path("build/training_on_gpu.md"), help="where the table goes")
    parser.add_argument("--trl", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.trl:
        folder, rows, checkpointing, attention, size = json.loads(asked.trl)
        print(json.dumps(trl(Path(folder), rows, checkpointing, attention, Size(*size))))
        return 0
    import torch

    if asked.device == "cuda" and not torch.cuda.is_available():
        print("error: no CUDA device here; --device cpu --sizes tiny only shows that it runs", file=sys.stderr)
        return 2
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    device = torch.cuda.get_device_name() if asked.device == "cuda" else "CPU"
    found = table(asked.sizes.split(","), device, asked.steps)
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    asked.output.write_text(found, encoding="utf-8")
    print(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
