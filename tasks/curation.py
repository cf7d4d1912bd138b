"""Curate: every conversation judged by every filter; one reason for each that goes."""

from collections import Counter
from typing import Any

import pyarrow as pa

from tasks.algorithms.encoding import TextEncoder, load_encoder
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Attempt
from tasks.caching import stage
from tasks.conversation import CURATED, DROPPED, answer_text, dropped_row, prompt_text
from tasks.filters import CurationConfig
from tasks.filters.refusal import is_refusal
from tasks.filters.row import Reading


@stage("curation", version=2)
def curate(out: Attempt, config: CurationConfig, ingested: Artifact, tokenizer: Resource) -> None:
    """Drop what cannot teach; flag refusals."""
    encoder = load_encoder(tokenizer)
    total = ingested.tables["conversations"].rows
    read, dropped, refusals = 0, Counter[str](), Counter[str]()
    for table in out.store.tables(ingested, "conversations"):
        for batch in table.to_batches(max_chunksize=4096):
            rows = batch.to_pylist()
            kept, gone = _judge(config, encoder, rows)
            out.write("conversations", pa.Table.from_pylist(kept, CURATED))
            out.write("dropped", pa.Table.from_pylist(gone, DROPPED))
            read += len(rows)
            dropped.update(row["reason"] for row in gone)
            refusals.update(row["source"] for row in kept if row["refusal"])
            out.progress(read, total)
    out.counts = Counts(read=read, kept=read - dropped.total(), dropped=dict(sorted(dropped.items())))
    out.facts["refusals"] = dict(sorted(refusals.items()))


def _judge(
    config: CurationConfig, encoder: TextEncoder, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    prompts = [prompt_text(row["messages"]) for row in rows]
    answers = [answer_text(row["messages"]) for row in rows]
    lengths = zip(encoder.count(prompts), encoder.count(answers), strict=True)
    kept, gone = [], []
    for row, prompt, answer, (prompt_tokens, answer_tokens) in zip(rows, prompts, answers, lengths, strict=True):
        verdict = config.judge(Reading(prompt, answer, prompt_tokens, answer_tokens))
        if verdict is not None:
            gone.append(dropped_row(row, *verdict))
            continue
        counted = {"prompt_tokens": prompt_tokens, "answer_tokens": answer_tokens, "refusal": is_refusal(answer)}
        kept.append({**row, **counted})
    return kept, gone
