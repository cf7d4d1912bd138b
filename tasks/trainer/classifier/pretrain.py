"""`python -m tasks.trainer.classifier.pretrain job.json`: make a small encoder. Writes into the job's output folder:

`model/` (config, safetensors and tokenizer, as every model folder), `metrics.parquet` (`step`, `loss`), `result.json`.
"""

import json
import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer import child
from tasks.trainer.classifier.job import EncoderJob
from tasks.trainer.classifier.reading import read_columns
from tasks.trainer.events import emit

VERSION = 1
"""Raised whenever the same texts would give another encoder."""
_LAST = 50
"""Steps over which the last loss is a mean."""
METRICS_SCHEMA = pa.schema([("step", pa.int64()), ("loss", pa.float64())])


def pretrain(job: EncoderJob) -> None:
    """Make it as told and write the results. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.classifier.masked import MaskedTraining
    from tasks.trainer.classifier.vocabulary import save_tokenizer, train_tokenizer
    from tasks.trainer.models import prepare_machine

    started = time.perf_counter()
    job.output.mkdir(parents=True, exist_ok=True)
    texts = _texts(job)
    machine = prepare_machine("auto", job.seed)
    tokenizer = train_tokenizer(texts, job)
    windows = [window for text in texts for window in _windows(tokenizer, text, job.max_length)]
    model = encoder(job, len(tokenizer)).to(machine.device)
    facts = {
        "device": machine.device.type,
        "dtype": machine.dtype_name,
        "parameters": int(model.num_parameters()),
        "vocabulary": len(tokenizer),
        "texts": len(texts),
        "tokens": sum(map(len, windows)),
    }
    emit("started", **facts)
    training = MaskedTraining(model, windows, job.warm_up, machine, job.seed)
    if job.warm_up.epochs and windows:
        training.run()
    model.cpu().save_pretrained(job.output / "model")
    save_tokenizer(tokenizer, job.output / "model")
    _write(job, training.losses, facts | {"seconds": round(time.perf_counter() - started, 3)})


def _texts(job: EncoderJob) -> list[str]:
    columns = read_columns(job.texts, ("text", "text_pair"))
    texts = [text for text in (*columns["text"], *columns["text_pair"]) if text.strip()]
    if not texts:
        raise ValueError("there are no texts to make an encoder from; give at least one that is not empty")
    return texts


def _write(job: EncoderJob, losses: list[float], facts: dict[str, Any]) -> None:
    rows = [{"step": step, "loss": loss} for step, loss in enumerate(losses, start=1)]
    pq.write_table(pa.Table.from_pylist(rows, METRICS_SCHEMA), job.output / "metrics.parquet", compression="zstd")
    told = {
        "steps": len(losses),
        "first_loss": losses[0] if losses else None,
        "last_loss": sum(losses[-_LAST:]) / len(losses[-_LAST:]) if losses else None,
    }
    (job.output / "result.json").write_text(json.dumps(facts | told, indent=2), encoding="utf-8")


def encoder(job: EncoderJob, vocabulary: int) -> Any:
    """A ModernBERT with full attention in all layers, drawn from torch's global seed.

    With its head for guessing, which is also where its head for classifying begins.
    """
    from transformers import ModernBertConfig, ModernBertForMaskedLM

    from tasks.trainer.classifier.vocabulary import BEGIN, END, PAD, SPECIAL

    rotary = {"rope_type": "default", "rope_theta": 10_000.0}
    begin, end = SPECIAL.index(BEGIN), SPECIAL.index(END)
    return ModernBertForMaskedLM(
        ModernBertConfig(
            vocab_size=vocabulary,
            hidden_size=job.hidden_size,
            intermediate_size=job.hidden_size * 2,
            num_hidden_layers=job.layers,
            num_attention_heads=job.heads,
            max_position_embeddings=job.max_length,
            layer_types=["full_attention"] * job.layers,
            rope_parameters={"full_attention": dict(rotary), "sliding_attention": dict(rotary)},
            embedding_dropout=job.dropout,
            attention_dropout=0.0,  # costs time, and gains nothing that was measured
            mlp_dropout=job.dropout,
            classifier_dropout=job.classifier_dropout,
            classifier_pooling="mean",
            pad_token_id=SPECIAL.index(PAD),
            bos_token_id=begin,
            cls_token_id=begin,
            eos_token_id=end,
            sep_token_id=end,
        )
    )


def _windows(tokenizer: Any, text: str, length: int) -> list[Any]:
    """The tokens of a text between special ones, in as many pieces as it is too long for one."""
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    begin, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    step = length - 2
    return [np.array([begin, *ids[at : at + step], end]) for at in range(0, len(ids), step)]


if __name__ == "__main__":
    child.main(EncoderJob, pretrain)
