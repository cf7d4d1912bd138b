"""Evaluate: any model against any benchmarks, alone or beside another one."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from prefect import flow
from prefect.artifacts import create_markdown_artifact
from pydantic import Field

from flows.errors import RecipeError
from flows.recipe import find_benchmark, find_model
from tasks.algorithms.tokens.encoding import load_encoder
from tasks.artifacts import aliases, registry
from tasks.artifacts.manifest import Counts
from tasks.artifacts.resource import TOKENIZER_FILES, Resource
from tasks.artifacts.store import DEFAULT_STORE, Attempt, Store
from tasks.benchmarks import BenchmarkSource
from tasks.caching import stage
from tasks.config import Config
from tasks.evaluation import EvaluationConfig, Forgetting
from tasks.evaluation import evaluate as weigh
from tasks.gate_record import read_gates
from tasks.measurement import measure
from tasks.reporting.tables import escape_markdown, markdown_table
from tasks.tokenization import HELDOUT, TEMPLATE, TokenizationConfig, chat_template
from tasks.trainer.config import Dtype

_BESIDE = ("name", "base", "tuned", "difference", "low", "high", "unit", "items", "verdict")


class Scores(Config):
    """What an evaluation came to."""

    model: str
    against: str | None
    verdict: str | None
    """The gate's word on the model beside the other one; none where there is no other."""
    reason: str
    scores: tuple[dict[str, Any], ...]
    evaluation: str
    """Address of the artifact with every item's answers."""


@stage("wording", version=1)
def word(out: Attempt, config: TokenizationConfig, tokenizer: Resource) -> None:
    """The chat template that a model is asked in, where there are no data of which it would be known."""
    template = chat_template(load_encoder(tokenizer), config)
    out.write(
        "template", pa.Table.from_pylist([{"text": template.source, "date": config.date, "end_ids": []}], TEMPLATE)
    )
    out.write("heldout", HELDOUT.empty_table())
    out.counts = Counts(read=0, kept=0)


@flow(name="evaluate", flow_run_name="evaluate {model}")
def evaluate(
    model: str,
    benchmarks: Annotated[tuple[BenchmarkSource, ...], Field(min_length=1)],
    against: str | None = None,
    forgetting: Forgetting = Forgetting(),  # noqa: B008 # frozen
    max_new_tokens: Annotated[int, Field(ge=1)] = 128,
    batch_size: Annotated[int, Field(ge=1)] = 32,
    dtype: Dtype = "auto",
    store_uri: str = DEFAULT_STORE,
) -> Scores:
    """Ask a model the benchmarks' questions, and another one the same; nothing is published.

    Args:
        model: A folder, a name on the Hub, or a published model as name@alias or name@version.
        benchmarks: The questions, by their absolute path, s3://…, or the name of a data set on the Hub.
        against: Another model, given in the same way, that is asked in the same words: what it was before.
        forgetting: When a drop from that other model is too much.
        max_new_tokens: Longest generated answer in tokens, where a benchmark has no limit of its own.
        batch_size: Most rows of one forward pass. Does not change the result.
        dtype: Precision; auto is bfloat16 on GPUs that have it, else float32.
        store_uri: Folder or s3://bucket/prefix of the artifacts.
    """
    store = Store(store_uri)
    store.probe()
    config = EvaluationConfig(
        benchmarks=benchmarks,
        forgetting=forgetting,
        heldout_rows=0,
        samples=0,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        dtype=dtype,
    )
    questions = tuple(find_benchmark(benchmark) for benchmark in benchmarks)
    with ExitStack() as opened:
        asked = opened.enter_context(_model(store, "model", model))
        other = opened.enter_context(_model(store, "against", against)) if against else asked
        tokenizer = asked.only(*TOKENIZER_FILES, "config.json")
        wording = word(store, TokenizationConfig(), tokenizer)
        tuned, base = (
            measure(store, config.measurement(), each, wording, wording, questions, tokenizer)
            for each in (asked, other)
        )
    evaluated = weigh(store, config.gate(), base, tuned)
    gates = read_gates(store, evaluated.address)
    result = Scores(
        model=model,
        against=against,
        verdict=gates.verdict if against else None,
        reason=gates.reason if against else "",
        scores=tuple(_row(score, beside=against is not None) for score in gates.scores),
        evaluation=evaluated.address,
    )
    _show(result)
    return result


def _row(score: dict[str, Any], *, beside: bool) -> dict[str, Any]:
    if beside:
        return {name: score.get(name) for name in _BESIDE}
    return {"name": score["name"], "score": score["tuned"], "unit": score["unit"], "items": score["items"]}


def _show(result: Scores) -> None:
    heading = f"## {escape_markdown(result.model)}"
    if result.against:
        heading += f" beside {escape_markdown(result.against)}: {result.verdict}\n\n{escape_markdown(result.reason)}"
    create_markdown_artifact(
        f"{heading}\n\n{markdown_table(result.scores)}", key="scores", description=f"Scores of {result.model}"
    )


@contextmanager
def _model(store: Store, field: str, name: str) -> Iterator[Resource]:
    """A model's files on this machine while the block runs, those of a published one checked against its record."""
    known, _, which = name.rpartition("@")
    if not known or Path(name).is_dir():
        yield find_model(field, name)
        return
    number = int(which) if which.isdecimal() else aliases.aliases(store, known).get(which)
    if number is None:
        raise RecipeError(
            f"{field} is {name}, and no model {known} in {store.uri} has an alias {which}; see fettle models"
        )
    with registry.local_version(store, registry.version(store, known, number)) as folder:
        yield find_model(field, str(folder))
