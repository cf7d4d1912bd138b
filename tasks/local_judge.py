"""A judge on this machine: the scorer's process has a local model answer, greedily, in its own chat template."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, ChatTemplate, TemplateError
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts.resource import Resource, require_unchanged
from tasks.judging.asked import Hear, Reply, Request
from tasks.trainer import launch
from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import REQUESTS

SCORER = "tasks.trainer.scoring"
TOO_LONG = "the question is longer than the judging model reads, so it would not see all of it"


class _Enough(Exception):  # noqa: N818  # no error: who listens has heard enough
    pass


class LocalJudge:
    """Puts all questions to a model in one process of its own, `batch_size` at once."""

    def __init__(self, model: Resource, batch_size: int, on_line: Callable[[str], None]) -> None:
        self.model, self.batch_size, self.on_line = model, batch_size, on_line
        encoder = load_encoder(model)
        source = encoder.chat_template or PLAIN_TEMPLATE
        self.template = ChatTemplate(source, bos=encoder.bos, eos=encoder.eos)

    def ask(self, requests: Sequence[Request], hear: Hear) -> None:
        """Put the requests; replies come in parts, as the process writes them. Raises TrainerFailed where it fails."""
        with tempfile.TemporaryDirectory(prefix="fettle-judging-") as temporary:
            work = Path(temporary)
            rows = [self._row(request) for request in requests]
            pq.write_table(pa.Table.from_pylist(rows, REQUESTS), work / "requests.parquet")
            job = ScoringJob(
                model=self.model.folder,
                requests=work / "requests.parquet",
                output=work / "output",
                batch_size=self.batch_size,
            )
            try:
                launch.run(SCORER, job, folder=work, on_event=self._listener(job.output, hear), on_line=self.on_line)
            except _Enough:
                return
            require_unchanged(self.model)

    def _listener(self, output: Path, hear: Hear) -> Callable[[dict[str, Any]], None]:
        last, known_model = time.monotonic(), False

        def on_event(event: dict[str, Any]) -> None:
            nonlocal last, known_model
            if event["event"] != "answers":
                return
            # All of the model has been read by now; what other weights answered must not enter its book.
            if not known_model:
                require_unchanged(self.model)
            known_model = True
            rows = pq.read_table(output / event["file"]).to_pylist()
            began, last = last, time.monotonic()
            for row in rows:
                if not hear(_reply(row, (last - began) / len(rows))):
                    raise _Enough

        return on_event

    def _row(self, request: Request) -> dict[str, Any]:
        question = request.question
        try:
            said = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
            prompt = self.template.render(said, generation_prompt=True)  # type: ignore[arg-type]
        except TemplateError:  # some know no system turn
            both = f"{question.system}\n\n{question.user}"
            prompt = self.template.render([{"role": "user", "content": both}], generation_prompt=True)
        return {
            "key": request.key,
            "form": "generation",
            "prompt": prompt,
            "special": True,
            "plain": _written_by_people(prompt, question.user.strip()),
            "max_new_tokens": request.max_tokens,
        }


def _written_by_people(prompt: str, text: str) -> list[dict[str, int]]:
    """Where in a prompt, in bytes, control tokens are only quoted: an answer must not be able to end the turn."""
    before, found, _after = prompt.partition(text)
    begin = len(before.encode())
    return [{"begin": begin, "end": begin + len(found.encode())}] if found else []


def _reply(row: dict[str, Any], seconds: float) -> Reply:
    if row["truncated"]:
        return Reply(row["key"], "failed", fault=TOO_LONG, seconds=seconds, tries=1)
    return Reply(row["key"], "answered", row["text"], output_tokens=row["tokens"], seconds=seconds, tries=1)
