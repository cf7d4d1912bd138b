"""Rows that a model cannot take, which are refused before the first step."""

from typing import Any

from tasks.trainer.classifier.job import ClassifierJob
from tasks.trainer.classifier.models import longest_text, takes_types
from tasks.trainer.classifier.rows import Rows


def refuse_misfits(rows: Rows, job: ClassifierJob, model: Any) -> None:
    """ValueError where a row has tokens that the model does not know, or more of them than it reads."""
    _refuse_unknown(rows, model)
    longest, limit = int(rows.lengths.max()), longest_text(model)
    most = job.max_length if limit is None else min(job.max_length, limit)
    if longest > most:
        raise ValueError(
            f"a row has {longest} tokens, and at most {most} are read (max_length {job.max_length}"
            + (f", and the model takes {limit}" if limit is not None else "")
            + "). Lower the maximum length, and tokenize the rows again."
        )


def _refuse_unknown(rows: Rows, model: Any) -> None:
    lowest, highest = int(rows.input_ids.min()), int(rows.input_ids.max())
    known, advice = model.get_input_embeddings().num_embeddings, "Tokenize the rows with the model's own tokenizer."
    if lowest < 0 or highest >= known:
        raise ValueError(
            f"token id {highest if lowest >= 0 else lowest} is beyond the model's {known} embeddings. {advice}"
        )
    kind = int(rows.token_type_ids.max())
    if takes_types(model) and kind >= model.config.type_vocab_size:
        raise ValueError(f"token type {kind} is beyond the model's {model.config.type_vocab_size}. {advice}")
