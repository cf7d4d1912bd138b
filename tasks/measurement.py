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
from tasks.algorithms.gate.pairs import IncomparableError
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.answer_book import AnswerBook
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact, Counts
from tasks.artifacts.resource import Resource, ResourceError, require_unchanged
from tasks.artifacts.store import Attempt, Store
from tasks.asked import ANSWERS, ITEMS, Asked, MeasurementConfig, heldout_prompts, next_turns, of_benchmark
from tasks.caching import logger, stage
from tasks.heldout import write_heldout
from tasks.methods.adapter_files import CONFIG as ADAPTER_CONFIG
from tasks.trainer import launch
from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import KNOWN, REQUESTS, Row
from tasks.trainer.scoring import VERSION as SCORER_VERSION

SCORER = "tasks.trainer.scoring"
TOKENIZER = "tokenizer.json"
PRECISIONS = ("float32", "bfloat16")


@stage("measurement", version=3)
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
    _require_own_tokenizer(out.store, model, tokenizer)
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
        asker = _Asker(out, config, model, folder, trained_on["end_ids"], books, Path(temporary))
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
    model: Artifact | Resource
    folder: Path
    """Where the model lies."""
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
            model=self.folder,
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
        dtype, known_model = "", False

        def on_event(event: dict[str, Any]) -> None:
            nonlocal dtype, known_model
            match event["event"]:
                case "started":
                    dtype = event["dtype"]
                case "progress":
                    self.out.progress(event["step"], event["total"], str(event["part"]))
                case "answers":
                    # All of the model has been read by now; what other weights answered must not enter its book.
                    if not known_model and isinstance(self.model, Resource):
                        require_unchanged(self.model)
                    known_model = True
                    self.books[dtype].add(pq.read_table(output / event["file"]))
                case "warning":
                    logger().warning(event["message"])

        return on_event


def _require_own_tokenizer(store: Store, model: Artifact | Resource, tokenizer: Resource) -> None:
    """Raise `IncomparableError` where a model would be given another tokenizer's ids, whose loss says nothing of it."""
    if isinstance(model, Resource):
        own = model.files.get(TOKENIZER)
    else:
        kept = store.manifest(model).files.get(f"model/{TOKENIZER}")
        own = kept.sha256 if kept else None
    if own != tokenizer.files.get(TOKENIZER):
        where = model.uri if isinstance(model, Resource) else model.address
        raise IncomparableError(
            f"the model {where} has another {TOKENIZER} than the recipe's base model, so that their losses cannot be "
            "compared; if it is the one in production, set publication.alias to null and move the alias with "
            "`fettle models promote` once the new model is published"
        )


def _written(rows: list[Row], schema: pa.Schema, path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    return path


def _rows(path: Path) -> list[Row]:
    rows: list[Row] = pq.read_table(path).to_pylist()
    return rows


@contextmanager
def _folder(store: Store, model: Artifact | Resource) -> Iterator[Path]:
    if isinstance(model, Resource):
        # transformers would put it on the weights unasked, and the digest that answers are kept by knows nothing of it.
        if (model.folder / ADAPTER_CONFIG).exists():
            raise ResourceError(
                f"{model.folder} holds {ADAPTER_CONFIG} beside the model, by which an adapter would be loaded with it; "
                "move the adapter's files into a folder of their own"
            )
        yield model.folder
        require_unchanged(model)
        return
    with store.local_folder(model, "model") as folder:
        yield folder
