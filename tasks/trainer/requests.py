"""What a scoring process is asked, and what it answers: the columns of both tables."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer.events import emit

FORMS = ("choices", "generation", "text")
REQUESTS = pa.schema(
    [
        ("key", pa.string()),
        ("form", pa.string()),
        ("prompt", pa.string()),
        ("special", pa.bool_()),
        ("plain", pa.list_(pa.struct([("begin", pa.int64()), ("end", pa.int64())]))),
        ("choices", pa.list_(pa.string())),
        ("stop", pa.list_(pa.string())),
        ("max_new_tokens", pa.int32()),
    ]
)
"""A request a row. `key` is unique; `form` says whether `choices` are scored behind the `prompt`, an answer of at most
`max_new_tokens` (null: the job's limit) is generated up to a `stop` text, or all tokens of the prompt are scored.

`special`: a chat template rendered the prompt, so that its control tokens are meant, but for those in the byte ranges
`plain`; otherwise they are text. All columns behind `prompt` may be absent or null.
"""
KNOWN = pa.schema([("key", pa.string()), ("dtype", pa.string())])
"""A request a row that need not be asked where the process computes in that precision."""
ANSWERS = pa.schema(
    [
        ("key", pa.string()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("text", pa.string()),
        ("ended", pa.bool_()),
        ("tokens", pa.int64()),
        ("loss_sum", pa.float64()),
        ("truncated", pa.bool_()),
    ]
)
"""An answer a row: sums in nats for each choice; or the generated text and whether something ended it; or the summed
loss in nats. `tokens`: those generated or scored. `truncated`: the prompt did not fit and lost its beginning."""


Row = dict[str, Any]


def read_requests(path: Path | None) -> list[Row]:
    """Requests, with every column; raises ValueError for what cannot be asked."""
    if path is None:
        return []
    table = pq.read_table(path)
    if missing := [name for name in ("key", "form", "prompt") if name not in table.column_names]:
        raise ValueError(f"{path} has no column {missing[0]}; requests have the columns {REQUESTS.names}.")
    rows: list[Row] = table.to_pylist()
    seen: set[str] = set()
    for row in rows:
        if row["form"] not in FORMS:
            raise ValueError(
                f"request {row['key']} has the form {row['form']!r}; it must be one of {', '.join(FORMS)}."
            )
        if row["form"] == "choices" and not row.get("choices"):
            raise ValueError(f"request {row['key']} has no choices. Give it some, or another form.")
        if row["key"] in seen:
            raise ValueError(f"two requests have the key {row['key']}. Keys must differ.")
        seen.add(row["key"])
    return [dict.fromkeys(REQUESTS.names) | row for row in rows]


def unanswered(requests: Sequence[Row], known: Path | None, dtype: str) -> list[Row]:
    """The requests that are not known in a precision."""
    if known is None:
        return list(requests)
    answered = {row["key"] for row in pq.read_table(known).to_pylist() if row["dtype"] == dtype}
    return [row for row in requests if row["key"] not in answered]


class AnswerParts:
    """Answers as they come, in files `answers-00000.parquet`, … of some seconds each, whole or not there."""

    def __init__(self, folder: Path, seconds: float) -> None:
        self._folder, self._seconds = folder, seconds
        self._rows: list[Row] = []
        self._files, self._begun = 0, time.monotonic()

    def add(self, rows: Sequence[Row]) -> None:
        """Take answers in, and write those that have waited long enough."""
        self._rows += rows
        if time.monotonic() - self._begun >= self._seconds:
            self.flush()

    def flush(self) -> None:
        """Write what waits, and tell of it."""
        if self._rows:
            name = f"answers-{self._files:05d}.parquet"
            draft = self._folder / f".{name}"
            pq.write_table(pa.Table.from_pylist(self._rows, schema=ANSWERS), draft, compression="zstd")
            draft.rename(self._folder / name)
            emit("answers", file=name, rows=len(self._rows))
            self._rows, self._files = [], self._files + 1
        self._begun = time.monotonic()
