"""Tokenize: labelled texts as token ids and label numbers, just as the published model will read its input."""

import json
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field
from tokenizers import Encoding, Tokenizer

from tasks.algorithms.classification.cutting import shortened
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, ResourceError, read_bytes
from tasks.artifacts.store import Attempt, Store
from tasks.caching import stage
from tasks.classification.texts import read_texts
from tasks.config import Config

TOKENIZED = pa.schema(
    [
        ("id", pa.string()),
        ("input_ids", pa.list_(pa.int32())),
        ("token_type_ids", pa.list_(pa.int8())),
        ("labels", pa.list_(pa.int32())),
    ]
)
"""`token_type_ids` tell the second text from the first; `labels` are places in the list of labels."""
TOKENIZER = "tokenizer.json"
LONGEST = 512
"""Tokens of a text where the recipe does not say and the model would take more: attention grows by their square."""
_MUCH_CUT = 0.01
_TEXTS_AT_A_TIME = 1000


class LabelledTokenizationConfig(Config):
    """How texts become token ids."""

    max_length: int | None = Field(None, ge=4)
    """Tokens of a text, of which the first are read; what the model holds when not set, at most 512."""


@stage("labelled-tokenization", version=1)
def tokenize(
    out: Attempt, config: LabelledTokenizationConfig, mixed: Artifact, base_model: Resource | Artifact
) -> None:
    """Token ids of the rows to learn from and to choose by; what is longer is cut, and counted."""
    labels = [row["name"] for row in out.store.rows(mixed, "labels")]
    max_length = _max_length(out.store, config, base_model)
    tokenizer = Tokenizer.from_str(_file(out.store, base_model, TOKENIZER).decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    read, lengths, cut = 0, list[int](), Counter[str]()
    for side in ("train", "validation"):
        rows = read_texts(out.store, mixed, side)
        out.write(side, TOKENIZED.empty_table())
        for part in rows.iter_slices(_TEXTS_AT_A_TIME):
            found = _tokenized(tokenizer, part, labels, max_length)
            counted = found.pop("lengths")
            lengths += counted
            cut.update(source for source, each in zip(part["source"], counted, strict=True) if each > max_length)
            out.write(side, pa.table(found, schema=TOKENIZED))
            read += len(part)
            out.progress(read, mixed.tables["train"].rows + mixed.tables["validation"].rows)
    out.write("settings", pa.table({"max_length": pa.array([max_length], pa.int32())}))
    out.write("lengths", pa.table({"tokens": pa.array(lengths, pa.int32())}))
    out.facts["cut_by_source"] = [{"source": source, "rows": rows} for source, rows in sorted(cut.items())]
    out.counts = Counts(read=read, kept=read)
    _tell(out, np.array(lengths), max_length)


def _tokenized(tokenizer: Tokenizer, rows: pl.DataFrame, labels: list[str], max_length: int) -> dict[str, Any]:
    places = {label: place for place, label in enumerate(labels)}
    given = [(text, pair) if pair else text for text, pair in rows.select("text", "text_pair").iter_rows()]
    # Counted before the cut, which the tokenizer itself makes, so that its end mark stays.
    tokenizer.no_truncation()
    lengths = [len(each.ids) for each in tokenizer.encode_batch(given)]
    cut = list(shortened(tokenizer, rows["text"].to_list(), rows["text_pair"].to_list(), max_length))
    tokenizer.enable_truncation(max_length)
    encoded: list[Encoding] = tokenizer.encode_batch(cut)
    return {
        "id": rows["id"].to_list(),
        "input_ids": [each.ids for each in encoded],
        "token_type_ids": [each.type_ids for each in encoded],
        "labels": [sorted(places[name] for name in names) for names in rows["labels"].to_list()],
        "lengths": lengths,
    }


def _max_length(store: Store, config: LabelledTokenizationConfig, base_model: Resource | Artifact) -> int:
    known = json.loads(_file(store, base_model, "config.json"))
    limit = known.get("max_position_embeddings") or known.get("n_positions")
    # Its positions begin behind the padding's.
    held = (
        int(limit) - (2 if known.get("model_type") in ("roberta", "xlm-roberta", "camembert") else 0) if limit else None
    )
    if config.max_length is None:
        return min(held or LONGEST, LONGEST)
    if held is not None and config.max_length > held:
        raise ValueError(f"tokenization.max_length is {config.max_length}, but the model holds {held} tokens; lower it")
    return config.max_length


def _file(store: Store, base_model: Resource | Artifact, name: str) -> bytes:
    if isinstance(base_model, Artifact):
        return store.read_file(base_model, f"model/{name}")
    if name not in base_model.files:
        raise ResourceError(f"base_model is {base_model.uri}, which holds no {name}; give a whole model folder")
    return read_bytes(base_model, name)


def _tell(out: Attempt, lengths: "np.ndarray[Any, np.dtype[np.int64]]", max_length: int) -> None:
    cut = int((lengths > max_length).sum())
    quantiles = np.quantile(lengths, [0.5, 0.9, 0.99, 1.0]).astype(int).tolist()
    out.facts |= {"max_length": max_length, "cut": cut, "tokens": int(np.minimum(lengths, max_length).sum())}
    out.facts["lengths"] = [dict(zip(("median", "p90", "p99", "longest"), quantiles, strict=True))]
    if cut > _MUCH_CUT * len(lengths):
        out.warn(
            f"{cut:,} of {len(lengths):,} texts ({cut / len(lengths):.0%}) are longer than {max_length} tokens, and "
            f"only their beginning is read; the longest has {quantiles[-1]:,}. Raise tokenization.max_length, or use "
            "a model that holds longer texts."
        )
