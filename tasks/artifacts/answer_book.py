"""Answers that a model gave, kept so that nothing is asked twice.

`answers/{key}/{digest of the part}.parquet` below the store's root; the key is a digest of all that decides an answer
but the request: the weights, the tokenizer, the precision, the scorer. So another model's answers lie elsewhere,
writers never meet, and what one run answered before it was interrupted is there for the next.
"""

import hashlib
import io
import logging
import re
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts.store import Store

FOLDER = "answers"
_log = logging.getLogger(__name__)
_PART = re.compile(r"(?P<digest>[0-9a-f]{64})\.parquet")


class AnswerBook:
    """The answers of one model, by their requests' keys."""

    def __init__(self, store: Store, key: str, warn: Callable[[str], None] = _log.warning) -> None:
        self._files, self._warn = store.files, warn
        self.where = f"{FOLDER}/{key}"

    def known(self, keys: Collection[str]) -> dict[str, dict[str, Any]]:
        """The answers to those of the requests that were answered, by key, without the column `key`.

        Parts that are not whole are passed over, and warned of together: what they held is asked again.
        """
        wanted, found = set(keys), dict[str, dict[str, Any]]()
        damaged = []
        for path in sorted(self._files.sizes(self.where)):
            name = _PART.fullmatch(path.rpartition("/")[2])
            if name is None:
                continue  # a draft that a writer left, or a file of somebody else
            table = self._part(path, name["digest"])
            if table is None:
                damaged.append(path)
                continue
            for row in table.to_pylist():
                if row["key"] in wanted:
                    found.setdefault(row.pop("key"), row)
        if damaged:
            self._warn(
                f"{len(damaged)} part{'s' * (len(damaged) > 1)} of the answers in {self.where} "
                f"{'are' if len(damaged) > 1 else 'is'} damaged and passed over, the first is {damaged[0]}; "
                "its answers are computed anew"
            )
        return found

    def add(self, answers: pa.Table) -> None:
        """Keep answers, of which `key` names the request; in one step, so that nobody sees half of them."""
        if not answers.num_rows:
            return
        buffer = io.BytesIO()
        pq.write_table(answers, buffer, compression="zstd")
        data = buffer.getvalue()
        path = f"{self.where}/{hashlib.sha256(data).hexdigest()}.parquet"
        # In place of what may lie there: by its name that is the same, or damaged.
        self._files.replace(path, data)

    def _part(self, path: str, expected: str) -> pa.Table | None:
        """None where its bytes are not those that were written, or somebody removed it."""
        data = self._files.read(path)
        if data is None or hashlib.sha256(data).hexdigest() != expected:
            return None
        return pq.read_table(io.BytesIO(data))
