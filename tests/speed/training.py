"""Trained tokens per second: ours against the script that most teams start from, and against TRL packed by hand.

All three start from the same weights, see the same samples as often, take steps of as many of them, in float32: a
random Llama with GPT-2's 50,257 tokens, where a head at every position costs what it costs real models; and the demo's
model, whose 1,024 tokens hide that.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.algorithms.tokens.masking import NOT_TRAINED, trained_tokens
from tasks.algorithms.tokens.packing import pack
from tasks.artifacts.resource import read_resource
from tasks.trainer import launch
from tasks.trainer.config import Watching
from tasks.trainer.job import TrainingJob
from tests.speed.figure import Measurement, figure, require
from tests.speed.tokenizing import CHATML, _as_conversations, _rows, _save_tokenizer

DEMO_MODEL = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
SAMPLES, HELDOUT, LONGEST = 200, 100, 512
ROWS_PER_STEP = 4
"""Packed rows of a step; the other sides take as many samples in one, so all take the same number of steps."""
LEARNING_RATE, EPOCHS = 1e-3, 1
WARM_STEPS, ROUNDS = 4, 3
PADDED = 4
"""Samples of a batch in the script that teams start from."""
NOISE = 0.05
"""How far held-out losses may lie apart, as a share of what training took off: batches differ in what they
hold, and steps are few."""


class Samples(NamedTuple):
    """Tokens of conversations, and which of them are trained."""

    ids: list[list[int]]
    labels: list[list[int]]
    made_of: str


class Course(NamedTuple):
    """What a side needs to know, and what it leaves."""

    folder: Path
    base: str
    """Folder of the model that all start from."""
    samples_per_step: int
    trained: int
    """Trained tokens of one epoch."""


@figure("train.vs_plain_script")
def vs_plain_script(scratch: Path) -> Measurement:
    """Padded batches of 4, activations computed twice, the rest as TRL has it."""
    return _measured(scratch, _large_vocabulary(scratch), "plain")


@figure("train.vs_trl_packed")
def vs_trl_packed(scratch: Path) -> Measurement:
    """Packed best-fit-decreasing, without padding, no activation computed twice."""
    return _measured(scratch, _large_vocabulary(scratch), "packed")


@figure("train.small_vocabulary.vs_plain_script")
def small_vs_plain_script(scratch: Path) -> Measurement:
    """The same with the demo's model."""
    return _measured(scratch, DEMO_MODEL, "plain")


@figure("train.small_vocabulary.vs_trl_packed")
def small_vs_trl_packed(scratch: Path) -> Measurement:
    """The same with the demo's model."""
    return _measured(scratch, DEMO_MODEL, "packed")


PEERS = {
    "plain": f"TRL's defaults: padded batches of {PADDED}, gradient checkpointing",
    "packed": "TRL by hand: packing bfd, padding-free, no gradient checkpointing, sdpa",
}


@cache
def _large_vocabulary(scratch: Path) -> Path:
    """A model folder with random weights, GPT-2's tokenizer, and far more parameters in its head than elsewhere."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    _save_tokenizer(scratch / "large_vocabulary", "gpt2")
    folder = scratch / "large_vocabulary" / "tokenizer"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4}
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            **shape,
        )
    )
    model.save_pretrained(folder)
    return folder


def _measured(scratch: Path, base: Path, side: str) -> Measurement:
    told, speeds, losses = _all_sides(scratch, base)
    apart = abs(losses["ours"] - losses[side]) / (losses["base"] - losses[side])
    require(apart < NOISE, f"held-out losses are {losses['ours']:.3f} and {losses[side]:.3f}")
    return Measurement(
        ours=statistics.median(speeds["ours"]),
        peer=statistics.median(speeds[side]),
        peer_name=PEERS[side],
        unit="trained tokens/s",
        checked=f"{told}; {EPOCHS} epoch, steps of as many samples, medians of {ROUNDS} alternating runs without "
        f"start-up; held-out loss {losses['base']:.3f} before, then {losses['ours']:.3f} and {losses[side]:.3f}",
        more_is_better=True,
    )


@cache
def _all_sides(scratch: Path, base: Path) -> tuple[str, dict[str, list[float]], dict[str, float]]:
    """What was trained on; of each side the speeds, and the held-out loss of its last model."""
    samples = _samples(scratch, base)
    folder = scratch / f"training-{base.name}"
    folder.mkdir()
    course = _written(samples, base, folder)
    speeds: dict[str, list[float]] = {"plain": [], "packed": [], "ours": []}
    for _ in range(ROUNDS):
        for side, measured in speeds.items():
            measured.append(_ours(course) if side == "ours" else _elsewhere(side, course))
    losses = {side: _elsewhere("loss", course, folder / side / "model") for side in speeds}
    losses["base"] = _elsewhere("loss", course, base)
    told = f"{len(samples.ids) - HELDOUT:,} {samples.made_of}, {course.trained:,} trained tokens"
    return told, speeds, losses


def _samples(scratch: Path, base: Path) -> Samples:
    """Conversations of at most the model's length, tokenised and masked as the stage does it."""
    rows = _rows(scratch)
    encoder = load_encoder(read_resource(str(base)))
    template = ChatTemplate(CHATML, bos=encoder.bos, eos=encoder.eos)
    rendered = Renderer(template, Trained(), special=encoder.special, added=encoder.added)(
        _as_conversations(pq.ParquetFile(rows.path).read_row_group(0))
    )
    tokens = encoder.tokens(rendered.texts, rendered.plain)
    labels = np.where(trained_tokens(tokens, rendered.trained), tokens.ids, np.int32(NOT_TRAINED))
    bounds = tokens.offsets[1:-1]
    short = [
        (ids.tolist(), wanted.tolist())
        for ids, wanted in zip(np.split(tokens.ids, bounds), np.split(labels, bounds), strict=True)
        if len(ids) <= LONGEST and (wanted[1:] != NOT_TRAINED).any()
    ][: SAMPLES + HELDOUT]
    return Samples([ids for ids, _ in short], [wanted for _, wanted in short], rows.made_of)


def _written(samples: Samples, base: Path, folder: Path) -> Course:
    """Samples for TRL, packed rows for us, and what is held out."""
    table = pa.table({"input_ids": samples.ids, "labels": samples.labels})
    pq.write_table(table[:HELDOUT], folder / "heldout.parquet")
    pq.write_table(table[HELDOUT:], folder / "samples.parquet")
    ids, labels = samples.ids[HELDOUT:], samples.labels[HELDOUT:]
    packed = pack([len(each) for each in ids], LONGEST)
    rows = [[int(each) for each in part] for part in np.split(packed.order, packed.offsets[1:-1])]
    columns = {
        "input_ids": [[token for sample in row for token in ids[sample]] for row in rows],
        "labels": [[token for sample in row for token in labels[sample]] for row in rows],
        "position_ids": [[place for sample in row for place in range(len(ids[sample]))] for row in rows],
    }
    pq.write_table(pa.table(columns), folder / "packed.parquet", row_group_size=1000)
    trained = sum(label != NOT_TRAINED for sample in labels for label in sample[1:])
    return Course(folder, str(base), round(ROWS_PER_STEP * len(ids) / len(rows)), trained)


def _speed(course: Course, at: list[float]) -> float:
    """By the times at which steps had ended."""
    steps = len(at)
    require(steps > 2 * WARM_STEPS, f"{steps} steps are too few to measure")
    return course.trained * EPOCHS * (steps - WARM_STEPS) / steps / (at[-1] - at[WARM_STEPS - 1])


def _ours(course: Course) -> float:
    """The trainer's own process, as the stage starts it."""
    at: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "progress":
            at.append(time.perf_counter())

    job = TrainingJob(
        base_model=Path(course.base),
        sequences=[course.folder / "packed.parquet"],
        output=course.folder / "ours",
        batch_size=ROWS_PER_STEP,
        learning_rate=LEARNING_RATE,
        epochs=EPOCHS,
        scheduler="linear",
        warmup_ratio=0,
        watching=Watching(preflight=False),
        dtype="float32",
    )
    launch.run(
        "tasks.trainer.train", job, folder=course.folder / "job", on_event=on_event, on_line=lambda _: None
    )  # fmt: skip
    return _speed(course, at)


def _elsewhere(what: str, course: Course, model: Path | None = None) -> float:
    """A number that another process finds."""
    # As our trainer has it: threads that spin while they wait slow everybody down.
    settings = {
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HOME": str(course.folder / "huggingface"),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    told = json.dumps([str(course.folder), *course[1:], str(model)])
    finished = subprocess.run(
        [sys.executable, "-m", "tests.speed.training", what, told],
        capture_output=True,
        text=True,
        env=os.environ | settings,
    )
    require(finished.returncode == 0, f"{what} failed: {finished.stderr[-2000:]}")
    return float(finished.stdout.splitlines()[-1])


def _trl(course: Course, side: str, **settings: Any) -> float:
    """Trains with TRL, saves the model, and gives the speed."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    at: list[float] = []

    class Clock(TrainerCallback):
        """Notes when steps have ended."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            at.append(time.perf_counter())

    load: Any = AutoModelForCausalLM.from_pretrained
    arguments = SFTConfig(
        output_dir=str(course.folder / side),
        num_train_epochs=EPOCHS,
        learning_rate=LEARNING_RATE,
        max_length=LONGEST,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        bf16=False,
        **settings,
    )
    trainer = SFTTrainer(
        model=load(course.base, dtype="float32"),
        args=arguments,
        train_dataset=Dataset.from_parquet(str(course.folder / "samples.parquet"), cache_dir=str(course.folder)),
        processing_class=AutoTokenizer.from_pretrained(course.base),
        callbacks=[Clock()],
    )
    trainer.train()
    trainer.save_model(str(course.folder / side / "model"))
    return _speed(course, at)


def _plain(course: Course, _: Path) -> float:
    accumulation = round(course.samples_per_step / PADDED)
    return _trl(course, "plain", per_device_train_batch_size=PADDED, gradient_accumulation_steps=accumulation)


def _packed(course: Course, _: Path) -> float:
    return _trl(
        course,
        "packed",
        packing=True,
        packing_strategy="bfd",
        padding_free=True,
        gradient_checkpointing=False,
        per_device_train_batch_size=1,  # a mask over several rows behind one another grows with their square
        gradient_accumulation_steps=ROWS_PER_STEP,
    )


def _loss(course: Course, model: Path) -> float:
    """Mean over the trained tokens of the held-out samples, one at a time, by all logits: no side's own way."""
    import torch
    from torch.nn.functional import cross_entropy
    from transformers import AutoModelForCausalLM

    load: Any = AutoModelForCausalLM.from_pretrained
    network = load(model, dtype="float32").eval()
    nats, tokens = 0.0, 0
    for row in pq.read_table(course.folder / "heldout.parquet").to_pylist():
        ids, labels = (torch.tensor([row[name]]) for name in ("input_ids", "labels"))
        with torch.no_grad():
            logits = network(ids).logits[0, :-1]
        nats += float(cross_entropy(logits, labels[0, 1:], reduction="sum"))
        tokens += int((labels[0, 1:] != NOT_TRAINED).sum())
    return nats / tokens


SIDES: dict[str, Callable[[Course, Path], float]] = {"plain": _plain, "packed": _packed, "loss": _loss}

if __name__ == "__main__":
    place, *rest, of_model = json.loads(sys.argv[2])
    print(SIDES[sys.argv[1]](Course(Path(place), *rest), Path(of_model)))
