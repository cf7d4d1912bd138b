"""Measure: one model's answers to every item of every benchmark, and its loss on the held-out rows.

An answer is kept in a book that only these weights can meet, so nothing is asked twice: what an interrupted measurement
learnt is there for the next, and a benchmark that grows asks only its new items.
"""

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.artifacts.store import Attempt, Store
from tasks.asked import ANSWERS, ITEMS, Asked, MeasurementConfig, heldout_prompts, next_turns, of_benchmark
from tasks.caching import logger, stage
from tasks.heldout import write_heldout
from tasks.trainer import launch
from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import KNOWN, REQUESTS, Row
from tasks.trainer.scoring import VERSION as SCORER_VERSION

SCORER = "tasks.trainer.scoring"
PRECISIONS = ("float32", "bfloat16")


@stage("measurement", version=2)
def measure(
    out: Attempt,
    config: MeasurementConfig,
    model: Artifact | Resource,
    tokenized: Artifact,
    mixed: Artifact,
    benchmarks: Sequence[Resource],
    tokenizer: Resource,
) -> None:
    """Ask one model everything, in a process of its own."""
    encoder = load_encoder(tokenizer)
    (trained_on,) = out.store.rows(tokenized, "template")
    template = ChatTemplate(trained_on["text"], bos=encoder.bos, eos=encoder.eos, date=trained_on["date"])
    renderer = Renderer(template, Trained(), special=encoder.special, added=encoder.added)
    asked = [each for benchmark in benchmarks for each in of_benchmark(benchmark, renderer)]
    asked += heldout_prompts(out.store, config.samples, tokenized, mixed, renderer)
    identity = {"weights": model.content, "tokenizer": tokenizer.content, "scorer": SCORER_VERSION}
    books = {each: AnswerBook(out.store, digest({**identity, "dtype": each}), warn=out.warn) for each in PRECISIONS}
    with tempfile.TemporaryDirectory(prefix="fettle-scoring-") as temporary, _folder(out.store, model) as folder:
        heldout = write_heldout(out.store, tokenized, config.heldout_rows, Path(temporary))
        asker = _Asker(out, config, folder, trained_on["end_ids"], books, Path(temporary))
        answers = asker.ask(asked, heldout)
        turn = next_turns(asked, [each["text"] for each in answers], renderer)
        while turn:
            asked += turn
            later = asker.ask(turn, [])
            answers += later
            turn = next_turns(turn, [each["text"] for each in later], renderer)
    out.write("items", pa.Table.from_pylist([each.as_row() for each in asked], ITEMS))
    pairs = zip(asked, answers, strict=True)
    out.write("answers", pa.Table.from_pylist([each.answered(answer) for each, answer in pairs], ANSWERS))
    out.counts = Counts(read=len(asked), kept=len(asked))


@dataclass
class _Asker:
    """Asks a model what its book does not know yet, in a process that ends with its answers."""

    out: Attempt
    config: MeasurementConfig
    model: Path
    end_ids: list[int]
    books: dict[str, AnswerBook]
    work: Path
    rounds: int = field(default=0, init=False)

    def ask(self, asked: Sequence[Asked], heldout: list[Path]) -> list[Row]:
        """An answer to each. The first round leaves the held-out losses and the machine's facts."""
        requests = [each.request(self.config.max_new_tokens, self.end_ids) for each in asked]
        once = {request["key"]: request for request in requests}
        known = {dtype: book.known(once) for dtype, book in self.books.items()}
        folder = self.work / f"round-{self.rounds}"
        folder.mkdir()
        listed = [{"key": key, "dtype": dtype} for dtype, rows in known.items() for key in rows]
        job = ScoringJob(
            model=self.model,
            heldout=heldout,
            requests=_written(list(once.values()), REQUESTS, folder / "requests.parquet"),
            known=_written(listed, KNOWN, folder / "known.parquet"),
            output=folder / "output",
            max_new_tokens=self.config.max_new_tokens,
            end_ids=self.end_ids,
            batch_size=self.config.batch_size,
            dtype=self.config.dtype,
        )
        launch.run(SCORER, job, folder=folder, on_event=self._hear(job.output), on_line=logger().info)
        result = json.loads((job.output / "result.json").read_text())
        if not self.rounds:
            self.out.facts |= result
            self.out.write("heldout", pq.read_table(job.output / "heldout.parquet"))
        self.rounds += 1
        found = known[result["dtype"]]
        found |= {row["key"]: row for part in job.output.glob("answers-*.parquet") for row in _rows(part)}
        return [found[request["key"]] for request in requests]

    def _hear(self, output: Path) -> Any:
        dtype = ""

        def on_event(event: dict[str, Any]) -> None:
            nonlocal dtype
            match event["event"]:
                case "started":
                    dtype = event["dtype"]
                case "progress":
                    self.out.progress(event["step"], event["total"], str(event["part"]))
                case "answers":
                    self.books[dtype].add(pq.read_table(output / event["file"]))
                case "warning":
                    logger().warning(event["message"])

        return on_event


def _written(rows: list[Row], schema: pa.Schema, path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def _rows(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


@contextmanager
def _folder(store: Store, model: Artifact | Resource) -> Iterator[Path]:
    if isinstance(model, Resource):
        yield model.folder
        require_unchanged(model)
        return
    with store.local_folder(model, "model") as folder:
        yield folder
