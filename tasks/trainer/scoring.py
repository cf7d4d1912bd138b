"""`python -m tasks.trainer.scoring job.json`: have one model answer requests. Writes into the job's output folder:

`answers-00000.parquet`, … as it goes, each told by an `answers` event, then `heldout.parquet` and `result.json`.
Log-likelihoods and losses are sums in nats.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.trainer import child
from tasks.trainer.events import emit
from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import FORMS, AnswerParts, Row, read_requests, unanswered

VERSION = 1
"""Raised whenever the same model would answer the same request otherwise: answers are kept by it."""
SECONDS_PER_PART = 30.0
HELDOUT_SCHEMA = pa.schema(
    [("row_id", pa.string()), ("source", pa.string()), ("loss_sum", pa.float64()), ("tokens", pa.int64())]
)
HELDOUT_COLUMNS = ["input_ids", "labels", "position_ids", "row_ids"]
_TELL_SECONDS = 1.0


@dataclass
class Scorer:
    """One model with its tokenizer."""

    model: Any
    tokenizer: Any
    job: ScoringJob
    truncated: int = field(default=0, init=False)
    """Prompts that were cut to fit the model."""
    forwarded_tokens: int = field(default=0, init=False)
    """Tokens that were read to score choices."""

    def __post_init__(self) -> None:
        from tasks.trainer.models import longest_input
        from tasks.trainer.prompts import PromptEncoder

        self._limit = longest_input(self.model)
        self._encoder = PromptEncoder(self.tokenizer)

    def choices(self, requests: list[Row]) -> Iterator[Row]:
        """Every choice scored by the sum of its log-probabilities behind the prompt."""
        from tasks.trainer.choices import ChoiceScorer
        from tasks.trainer.shared_prefixes import Tree, tree_of

        trees: list[Tree] = []
        cut = []
        for request in requests:
            pairs = self._encoder.continuations(
                request["prompt"],
                request["choices"],
                self._limit,
                special=bool(request["special"]),
                plain=_plain(request),
            )
            trees.append(tree_of(pairs))
            cut.append(any(pair.truncated for pair in pairs))
        scorer = ChoiceScorer(self.model, self.job.batch_size)
        told = False
        for number, sums in scorer(trees):
            if scorer.refusal is not None and not told:
                emit("warning", message=f"Choices are scored one by one, which takes longer: {scorer.refusal}.")
                told = True
            tokens = sum(len(each.targets) for each in trees[number].wanted)
            self.truncated += cut[number]
            yield _answer(requests[number], loglikelihoods=sums, tokens=tokens, truncated=cut[number])
        self.forwarded_tokens = scorer.forwarded_tokens

    def generation(self, requests: list[Row]) -> Iterator[Row]:
        """A greedy answer to every prompt."""
        from tasks.trainer.generation import Question, answers

        questions = [
            Question(
                self._encoder.prompt(request["prompt"], special=bool(request["special"]), plain=_plain(request)),
                tuple(request["stop"] or ()),
                self._most_tokens(request["max_new_tokens"] or self.job.max_new_tokens),
            )
            for request in requests
        ]
        made = answers(self.model, self.tokenizer, questions, batch_size=self.job.batch_size, end_ids=self.job.end_ids)
        for number, answer in made:
            self.truncated += answer.truncated
            yield _answer(
                requests[number],
                text=answer.text,
                ended=answer.ended,
                tokens=answer.tokens,
                truncated=answer.truncated,
            )

    def _most_tokens(self, wanted: int) -> int:
        """A request's limit; one beyond the job's own is cut to half of what a small model reads."""
        room = wanted if self._limit is None else self._limit // 2
        return wanted if wanted <= self.job.max_new_tokens else max(self.job.max_new_tokens, min(wanted, room))

    def text(self, requests: list[Row]) -> Iterator[Row]:
        """The summed loss over all tokens of every text; long ones are read in windows that do not overlap."""
        from tasks.trainer.likelihood import Targets, log_probabilities

        texts: list[Targets] = []
        owners: list[int] = []
        for number, request in enumerate(requests):
            ids = self._encoder.text(request["prompt"])
            if len(ids) == 1:
                raise ValueError(f"request {request['key']} has an empty text. Leave it out.")
            step = self._limit or len(ids)
            windows = [ids[start : start + step + 1] for start in range(0, len(ids) - 1, step)]
            texts += [Targets(window, range(1, len(window))) for window in windows]
            owners += [number] * len(windows)
        waiting = {number: owners.count(number) for number in set(owners)}
        losses, tokens = dict.fromkeys(waiting, 0.0), dict.fromkeys(waiting, 0)
        for window, values in log_probabilities(self.model, texts, self.job.batch_size):
            number = owners[window]
            losses[number] -= float(values.sum())
            tokens[number] += len(values)
            waiting[number] -= 1
            if not waiting[number]:
                yield _answer(requests[number], loss_sum=losses[number], tokens=tokens[number])

    def heldout(self) -> list[Row]:
        """The summed loss over the trained tokens of every held-out conversation."""
        from tasks.trainer.likelihood import Targets, log_probabilities

        rows = [row for path in self.job.heldout for row in _read(path)]
        texts = [Targets(row["input_ids"], _trained(row)) for row in rows]
        told = _progress("heldout", len(rows))
        for done, (number, values) in enumerate(log_probabilities(self.model, texts, self.job.batch_size), start=1):
            rows[number] |= {"loss_sum": -float(values.sum()), "tokens": len(values)}
            told(done)
        return [row | {"row_id": row["row_ids"][0], "source": row.get("source") or ""} for row in rows]


def score(job: ScoringJob) -> None:
    """Answer as told and write the tables. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.models import load_model, load_tokenizer, prepare_machine

    started = time.perf_counter()
    requests = read_requests(job.requests)
    machine = prepare_machine(job.dtype, job.seed)
    model = load_model(job.model, machine.compute_dtype).to(machine.device).eval()
    parameters = sum(weight.numel() for weight in model.parameters())
    emit("started", device=machine.device.type, dtype=machine.dtype_name, parameters=parameters)
    requests = unanswered(requests, job.known, machine.dtype_name)
    job.output.mkdir(parents=True, exist_ok=True)
    scorer = Scorer(model, load_tokenizer(job.model), job)
    parts = AnswerParts(job.output, SECONDS_PER_PART)
    counts = {form: _answered(scorer, form, [row for row in requests if row["form"] == form], parts) for form in FORMS}
    heldout = scorer.heldout()
    pq.write_table(pa.Table.from_pylist(heldout, schema=HELDOUT_SCHEMA), job.output / "heldout.parquet")
    result = {
        "seconds": round(time.perf_counter() - started, 3),
        "device": machine.device.type,
        "dtype": machine.dtype_name,
        "parameters": parameters,
        "counts": counts | {"heldout": len(heldout)},
        "truncated_contexts": scorer.truncated,
        "forwarded_tokens": scorer.forwarded_tokens,
    }
    (job.output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _answered(scorer: Scorer, form: str, requests: list[Row], parts: AnswerParts) -> int:
    """Answer the requests of one form; how many there were."""
    told = _progress(form, len(requests))
    if requests:
        for done, row in enumerate(getattr(scorer, form)(requests), start=1):
            parts.add([row])
            told(done)
        parts.flush()
    return len(requests)


def _answer(request: Row, **found: Any) -> Row:
    return {"key": request["key"], "loglikelihoods": [], "text": "", "ended": True, "truncated": False} | found


def _plain(request: Row) -> list[tuple[int, int]]:
    return [(each["begin"], each["end"]) for each in request["plain"] or ()]


def _trained(row: Row) -> list[int]:
    """Indices of the trained tokens of a row that holds one conversation."""
    if row["position_ids"] != list(range(len(row["input_ids"]))):
        raise ValueError(f"held-out row {row['row_ids']} is packed; held-out tables hold one conversation a row.")
    return [index for index, label in enumerate(row["labels"]) if index and label != -100]


def _progress(part: str, total: int) -> Callable[[int], None]:
    """Tells how much is done: the last, and of the others one a second."""
    last = [0.0]

    def told(done: int) -> None:
        now = time.monotonic()
        if done == total or now - last[0] >= _TELL_SECONDS:
            last[0] = now
            emit("progress", part=part, step=done, total=total)

    return told


def _read(path: Path) -> list[Row]:
    names = pq.read_schema(path).names
    if missing := sorted(set(HELDOUT_COLUMNS) - set(names)):
        raise ValueError(f"{path} has no column {missing}; it needs {HELDOUT_COLUMNS}.")
    present = [name for name in ("source",) if name in names]
    rows: list[Row] = pq.read_table(path, columns=[*HELDOUT_COLUMNS, *present]).to_pylist()
    return rows


if __name__ == "__main__":
    child.main(ScoringJob, score)
