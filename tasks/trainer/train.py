"""`python -m tasks.trainer.train job.json`: fine-tune one model. Writes into the job's output folder:

`model/` (full model, merged where an adapter was trained), `adapter/` (LoRA only), `metrics.parquet`, `result.json`.
"""

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.trainer import child
from tasks.trainer.job import TrainingJob

if TYPE_CHECKING:
    from tasks.trainer.batches import Extent
    from tasks.trainer.journal import Journal


def train(job: TrainingJob) -> None:
    """Train as told and write the results. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.batches import read_rows
    from tasks.trainer.models import prepare_machine

    started = time.perf_counter()
    job.output.mkdir(parents=True, exist_ok=True)
    scratch = job.output / "scratch"
    machine = prepare_machine(job.dtype, job.seed)
    try:
        rows = read_rows(job.sequences, scratch / "cache")
        heldout = read_rows(job.heldout, scratch / "cache") if job.heldout else None
        result = _train(job, machine, rows, heldout, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result["seconds"] = round(time.perf_counter() - started, 3)
    (job.output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _train(job: TrainingJob, machine: Any, rows: Any, heldout: Any, scratch: Path) -> dict[str, Any]:
    import torch

    from tasks.trainer.batches import PackedCollator, measure
    from tasks.trainer.fitting import FineTuner, HeldoutSchedule, training_arguments
    from tasks.trainer.isolation import prove_isolation
    from tasks.trainer.journal import DivergenceAlarm, Journal
    from tasks.trainer.models import (
        VARIABLE_LENGTH,
        attention_of,
        load_model_to_train,
        load_tokenizer,
        padding_id,
        save_model,
        stop_at,
    )

    tokenizer = load_tokenizer(job.base_model)
    # Full training in bfloat16 keeps float32 weights and computes in bfloat16: steps of a usual learning rate are
    # smaller than bfloat16 can add to a weight. Frozen weights never change, so they may be held in bfloat16.
    dtype = torch.float32 if job.method.trains_base else machine.compute_dtype
    model = load_model_to_train(job.base_model, dtype, job.attention, machine)
    extent = measure(rows)
    _refuse_misfits(extent, model)
    _refuse_grouping(job, extent)
    if heldout is not None:
        _refuse_misfits(measure(heldout), model)
    parameters = sum(weight.numel() for weight in model.parameters())
    cached = model.config.use_cache
    prepared = job.method.prepare(model)
    facts = {
        "device": machine.device.type,
        "parameters": parameters,
        "trainable_parameters": sum(weight.numel() for weight in prepared.parameters() if weight.requires_grad),
        "trained_tokens": round(extent.trained_tokens * job.epochs),
        "attention": attention_of(model),
    }
    journal = Journal(DivergenceAlarm(model.get_input_embeddings().num_embeddings))
    trainer = FineTuner(
        job,
        model=prepared,
        args=training_arguments(job, machine, scratch / "checkpoints"),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[HeldoutSchedule(journal, job.evaluations if job.heldout else 0, facts)],
        collator=PackedCollator(padding_id(tokenizer), flat=attention_of(model) == VARIABLE_LENGTH),
        heldout=heldout,
        journal=journal,
    )
    facts["isolation"] = prove_isolation(trainer, extent.packed_row or 0)
    trainer.train()
    model.config.use_cache = cached  # Trainer turns it off for training; the saved model is for generating
    # Saved in the dtype of the computation: bfloat16 runs never saw more precision than that, and float32 runs would
    # lose what their held-out loss was measured with.
    exported = job.method.export(trainer.model, job.output, machine.compute_dtype)
    stop_at(exported, tokenizer, job.end_ids)
    save_model(exported, job.base_model, job.output / "model", job.chat_template)
    journal.write(job.output / "metrics.parquet")
    return facts | {"dtype": machine.dtype_name} | _outcome(journal)


def _outcome(journal: "Journal") -> dict[str, Any]:
    losses, best = journal.losses(), journal.best()
    return {
        "steps": len(losses),
        "tokens": journal.tokens,
        "tokens_per_second": round(journal.tokens / max(journal.training_seconds, 1e-9), 1),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "base_heldout_loss": journal.rows.get(0, {}).get("heldout_loss"),
        "best_step": best[0] if best else None,
        "best_heldout_loss": best[1] if best else None,
    }


def _refuse_misfits(extent: "Extent", model: Any) -> None:
    """Rows that this model cannot take, before the first step."""
    from tasks.trainer.models import longest_input

    if extent.trained_tokens == 0:
        raise ValueError(
            f"{extent.rows} sequence rows with {extent.trained_tokens} trained tokens: there is nothing to learn from."
        )
    known_ids = model.get_input_embeddings().num_embeddings
    if extent.highest_id >= known_ids:
        raise ValueError(
            f"token id {extent.highest_id} is beyond the model's {known_ids} embeddings. "
            "Tokenize the sequences with the model's own tokenizer."
        )
    limit = longest_input(model)
    if limit is not None and extent.longest_sample > limit:
        raise ValueError(
            f"a sample has {extent.longest_sample} tokens and the model takes {limit}. Lower the maximum length."
        )


def _refuse_grouping(job: TrainingJob, extent: "Extent") -> None:
    if job.group_by_length and extent.packed_row is not None:
        raise ValueError(
            f"training.group_by_length is set, but the rows are packed (row {extent.packed_row} holds several samples) "
            "and so of one length already. Set tokenization.packing to false to group them, or leave grouping off."
        )


if __name__ == "__main__":
    child.main(TrainingJob, train)
