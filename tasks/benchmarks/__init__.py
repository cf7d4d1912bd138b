"""The shelf of benchmarks. A new kind is a module with what `Kind` lists, and a line in the two lists below."""

from difflib import get_close_matches
from typing import Any, Literal, Protocol, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from tasks.artifacts.fingerprint import digest
from tasks.artifacts.resource import Resource
from tasks.benchmarks import (
    arc,
    generation,
    gsm8k,
    harness,
    hellaswag,
    ifeval,
    mmlu,
    mt_bench,
    multiple_choice,
    refusals,
    text,
    truthfulqa_mc1,
    truthfulqa_mc2,
)
from tasks.benchmarks.asked import asked
from tasks.benchmarks.item import BenchmarkError, Item, Response
from tasks.config import Config

Form = Literal["choices", "generation", "text"]
BenchmarkKind = Literal[
    "multiple_choice",
    "generation",
    "text",
    "mmlu",
    "hellaswag",
    "truthfulqa_mc1",
    "truthfulqa_mc2",
    "arc",
    "gsm8k",
    "ifeval",
    "refusals",
    "mt_bench",
    "harness",
]


class Kind(Protocol):
    """A way in which rows hold items, and in which answers are scored.

    A kind may also have SPLITS (on the Hub: what is asked, then what examples are taken from), FEW_SHOT (how many
    examples it shows when the recipe does not say) and METRICS (the first is the one used when it does not say).
    """

    KIND: BenchmarkKind
    VERSION: int | str
    SOURCE: str
    """Its data set on the Hub or the file that comes with it, or nothing."""
    LICENCE: str
    FORMAT: Form

    def items(self, benchmark: Resource) -> list[Item]: ...

    def score(self, item: Item, response: Response) -> float | None: ...


_SHELF: tuple[Any, ...] = (
    multiple_choice,
    generation,
    text,
    mmlu,
    hellaswag,
    truthfulqa_mc1,
    truthfulqa_mc2,
    arc,
    gsm8k,
    ifeval,
    refusals,
    mt_bench,
    harness,
)
KINDS: dict[str, Kind] = {each.KIND: each for each in _SHELF}
PUBLISHED = tuple(kind for kind in KINDS if KINDS[kind].SOURCE)
"""Kinds that have data of their own, and so can be asked for by their name alone."""


class BenchmarkSource(Config):
    """One benchmark of a recipe, or only its name, such as `mmlu`: that kind's published data."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """What the benchmark is called in tables and reports."""
    uri: str = Field(min_length=1)
    """Its files: a file, a folder or a glob (relative paths begin at the recipe file), `s3://…`, or a data set on the
    Hub as `hf://datasets/owner/name@revision/config`."""
    kind: BenchmarkKind = "multiple_choice"
    """How its rows are read and scored."""
    prompt: Literal["question", "chat"] = "question"
    """Ask as harnesses do ("Question: … Answer:", with examples), or in the model's own chat template without any.
    Kinds whose answers are generated freely are asked in the chat template whatever stands here."""
    gate: bool = True
    """Whether a drop on it can keep the model from being published."""
    max_items: int | None = Field(None, ge=1)
    """Most items to ask, each subject its share, chosen by a stable hash; all when not set."""
    few_shot: int | None = Field(None, ge=0)
    """How many examples stand in front of a question; the kind's own number when not set (5 for mmlu and gsm8k)."""
    metric: str | None = None
    """What is counted, where a kind knows several: accuracy or accuracy_norm (multiple_choice); holds, exact or number
    (generation); a metric of the task, or `metric,filter` (harness). The first one when not set."""
    task: str | None = None
    """Kind harness only: the task's name; needed where the folder holds several."""
    trust_remote_code: bool = False
    """Kind harness only: whether code that the task's files name (`!function`) may run on this machine."""
    digest: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """The sha256 that the file must have, or of several files the digest of their names and sha256s."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given in PUBLISHED:
            return {"name": given, "kind": given, "uri": KINDS[given].SOURCE}
        if given in KINDS:
            raise ValueError(f"{given} is a way to read files of yours; give name, kind: {given} and uri")
        near = get_close_matches(given, PUBLISHED) or PUBLISHED
        raise ValueError(
            f"{given!r} is no benchmark known by its name; meant is {' or '.join(near)}? For a file of yours give "
            "name, kind and uri"
        )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        kind = KINDS[self.kind]
        if self.few_shot and not hasattr(kind, "FEW_SHOT"):
            raise ValueError(f"{self.name}: few_shot is {self.few_shot} and {self.kind} takes no examples; remove it")
        if self.few_shot and self.prompt == "chat":
            raise ValueError(f"{self.name}: few_shot is {self.few_shot}; asked in the chat template there are none")
        if self.prompt == "chat" and self.kind in ("text", "harness"):
            raise ValueError(f"{self.name}: {self.kind} is never asked in the chat template; remove prompt")
        if self.task is not None and self.kind != "harness":
            raise ValueError(f"{self.name}: task is {self.task!r} and only kind harness has tasks; remove it")
        if self.trust_remote_code and self.kind != "harness":
            raise ValueError(f"{self.name}: {self.kind} runs no code of others; remove trust_remote_code")
        metrics = getattr(kind, "METRICS", ())
        if self.metric is not None and self.kind != "harness" and self.metric not in metrics:
            known = f"counts {' or '.join(metrics)}" if metrics else "counts one thing only; remove it"
            raise ValueError(f"{self.name}: metric is {self.metric!r} and {self.kind} {known}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """A name or the whole."""
        whole = handler.resolve_ref_schema(handler(core_schema))
        name = {"type": "string", "enum": list(PUBLISHED), "description": "A benchmark known by its name."}
        return {"title": whole.get("title", cls.__name__), "anyOf": [name, whole]}

    def reading(self) -> dict[str, Any]:
        """What decides the items and how they are asked; the address, the gate and the expected digest do not."""
        kind = KINDS[self.kind]
        few_shot = 0 if self.prompt == "chat" else getattr(kind, "FEW_SHOT", 0)
        return {
            **self.model_dump(include={"name", "kind", "prompt", "max_items", "task", "trust_remote_code"}),
            "few_shot": few_shot if self.few_shot is None else self.few_shot,
            "metric": self.metric or next(iter(getattr(kind, "METRICS", ())), None),
            "version": kind.VERSION,
        }

    def splits(self) -> tuple[str, ...]:
        """The splits of a data set on the Hub that it needs; none where the kind does not say."""
        splits: tuple[str, ...] = getattr(KINDS[self.kind], "SPLITS", ())
        return splits if self.reading()["few_shot"] else splits[:1]


def load_items(benchmark: Resource) -> list[Item]:
    """All items of a benchmark; raises `BenchmarkError` where there are none or two share an id."""
    items = KINDS[benchmark.facts["kind"]].items(benchmark)
    if not items:
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {benchmark.uri} holds no items")
    ids = {item.item_id for item in items}
    if len(ids) != len(items):
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {len(items) - len(ids)} items share their id")
    blank = [item.item_id for item in items if not item.question.strip()]
    if blank:
        raise BenchmarkError(f"benchmark {benchmark.facts['name']}: {len(blank)} items ask nothing, first {blank[0]}")
    return items


def form_of(kind: str, item: Item) -> Form:
    """How a model answers an item: by the likelihood of choices, by a text, or not at all."""
    return "choices" if item.continuations else KINDS[kind].FORMAT


def require_digest(source: BenchmarkSource, resource: Resource) -> None:
    """Raise `BenchmarkError` where a benchmark's files are not those that the recipe names by their digest."""
    found = next(iter(resource.files.values())) if len(resource.files) == 1 else digest(resource.files)
    if source.digest not in (None, found):
        raise BenchmarkError(
            f"benchmark {source.name}: {source.uri} has the digest {found} ({len(resource.files)} files) and the "
            f"recipe asks for {source.digest}; restore the files, or write the new digest where the change is meant"
        )


def questions(benchmark: Resource) -> list[tuple[str, str]]:
    """The name and the text of every question that no training row may hold, all of them whatever `max_items` says.

    Few-shot examples are none of them: a model that was trained on one still has to answer the questions.
    """
    facts = benchmark.facts
    # How they are shown and scored is of no concern here, and no part of what the resource is known by.
    as_read = {"few_shot": 0, "metric": next(iter(getattr(KINDS[facts["kind"]], "METRICS", ())), None)}
    return asked(facts["name"], load_items(benchmark.model_copy(update={"facts": facts | as_read})))
