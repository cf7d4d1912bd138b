"""What a model is asked: a benchmark's items and held-out prompts, in the very words that it is given."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from tasks.algorithms.chat.renderer import Renderer
from tasks.artifacts.fingerprint import digest
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource
from tasks.artifacts.store import Store
from tasks.benchmarks import KINDS, form_of, load_items
from tasks.benchmarks.item import HELDOUT_ANSWERS, Item, Response, drawn
from tasks.config import Config
from tasks.conversation import Message, answer_text
from tasks.trainer.config import Dtype

_NAMES = [(name, pa.string()) for name in ("benchmark", "kind", "form", "item_id", "cluster")]
ITEMS = pa.schema(
    [
        *_NAMES,
        ("question", pa.string()),
        ("prompt", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("gold", pa.list_(pa.int32())),
        ("answer", pa.string()),
    ]
)
"""What was asked: `prompt` is the exact text that the model saw."""
ANSWERS = pa.schema(
    [
        *_NAMES,
        ("prompt_sha256", pa.string()),
        ("score", pa.float64()),
        ("shown", pa.string()),
        ("loglikelihoods", pa.list_(pa.float64())),
        ("ended", pa.bool_()),
        ("tokens", pa.int64()),
        ("loss_sum", pa.float64()),
        ("truncated", pa.bool_()),
        (
            "followed",
            pa.list_(pa.struct([("name", pa.string()), ("strict", pa.bool_()), ("loose", pa.bool_())])),
        ),
    ]
)
"""What came of it: `score` from 0 to 1, none where nothing is right or wrong; `shown` as people read the answer;
`followed` tells of each instruction in the question, none where a program can check none."""

Row = dict[str, Any]


class MeasurementConfig(Config):
    """How one model is measured."""

    heldout_rows: int
    samples: int
    max_new_tokens: int
    batch_size: int
    dtype: Dtype

    def identity(self) -> dict[str, Any]:
        """All but the batch size."""
        return self.model_dump(mode="json", exclude={"batch_size"})


class Asked(Config):
    """An item in the words that the model is given."""

    benchmark: str
    kind: str
    form: str
    item: Item
    prompt: str
    continuations: tuple[str, ...] = ()
    special: bool = False
    """Whether control tokens in the prompt are meant as such: a chat template wrote it."""
    alike: str = ""
    """What all models were asked, where the prompt holds a model's own words; else the prompt is that."""
    plain: tuple[tuple[int, int], ...] = ()
    """Byte ranges of the prompt in which they are not: the question spells them."""

    def request(self, max_new_tokens: int, end_ids: Sequence[int]) -> Row:
        """What the scorer needs; the key tells all that decides its answer, but for the model."""
        told: Row = {
            "form": self.form,
            "prompt": self.prompt,
            "special": self.special,
            "plain": [{"begin": begin, "end": end} for begin, end in self.plain],
            "choices": list(self.continuations),
        }
        if self.form == "generation":
            most = self.item.max_new_tokens or max_new_tokens
            told |= {"stop": list(self.item.stop), "max_new_tokens": most}
            # A small model cuts an item's own limit, but not below the recipe's.
            least = {"least": max_new_tokens} if most > max_new_tokens else {}
            return {"key": digest({**told, **least, "end_ids": list(end_ids)}), **told}
        return {"key": digest(told), **told}

    def as_row(self) -> Row:
        """For the table of items."""
        item = self.item
        told = {"question": item.question, "choices": item.choices, "gold": item.gold, "answer": item.answer}
        return {**self._names(), **told, "prompt": self.prompt}

    def answered(self, answer: Row) -> Row:
        """For the table of answers."""
        likely = tuple(answer["loglikelihoods"] or ())
        response = Response(loglikelihoods=likely, text=answer["text"] or "", ended=bool(answer["ended"]))
        kind = KINDS.get(self.kind)
        followed = getattr(kind, "followed", None)
        return {
            **self._names(),
            "prompt_sha256": hashlib.sha256((self.alike or self.prompt).encode()).hexdigest(),
            "score": kind.score(self.item, response) if kind and self.form != "text" else None,
            "shown": self._likeliest(likely) if self.form == "choices" else response.text,
            **{name: answer[name] for name in ("loglikelihoods", "ended", "tokens", "loss_sum", "truncated")},
            "followed": [each._asdict() for each in followed(self.item, response)] if followed else None,
        }

    def _likeliest(self, likely: Sequence[float]) -> str:
        choices = self.item.choices or self.continuations
        return choices[max(range(len(likely)), key=likely.__getitem__)].strip()

    def _names(self) -> Row:
        names = {"benchmark": self.benchmark, "kind": self.kind, "form": self.form}
        return {**names, "item_id": self.item.item_id, "cluster": self.item.cluster}


def of_benchmark(benchmark: Resource, renderer: Renderer) -> Iterator[Asked]:
    """The drawn items of a benchmark."""
    reading = benchmark.facts
    for item in drawn(load_items(benchmark), reading["max_items"]):
        yield _asked(reading["name"], reading["kind"], item, renderer, chat=reading["prompt"] == "chat")


def next_turns(asked: Sequence[Asked], answers: Sequence[str], renderer: Renderer) -> list[Asked]:
    """What is asked once the answers to these are there: the later turns of a conversation with the model."""
    made = []
    for each, answer in zip(asked, answers, strict=True):
        follow_up = getattr(KINDS.get(each.kind), "follow_up", None)
        item = follow_up(each.item, answer) if follow_up else None
        if item is not None:
            turn = _asked(each.benchmark, each.kind, item, renderer, chat=True)
            made.append(turn.model_copy(update={"alike": item.question}))
    return made


def _asked(benchmark: str, kind: str, item: Item, renderer: Renderer, *, chat: bool) -> Asked:
    form = form_of(kind, item)
    named = {"benchmark": benchmark, "kind": kind, "form": form, "item": item}
    # A kind that writes no prompt of its own is asked as users ask.
    if item.prompt and not chat:
        return Asked(**named, prompt=item.context + item.prompt, continuations=item.continuations)
    messages_of = getattr(KINDS[kind], "messages", None)
    messages: list[Message] = messages_of(item) if messages_of else [{"role": "user", "content": item.question}]
    prompt, plain = renderer.prompt(messages)
    return Asked(**named, prompt=prompt, continuations=item.choices, special=True, plain=tuple(plain))


def heldout_prompts(
    store: Store, samples: int, tokenized: Artifact, mixed: Artifact, renderer: Renderer
) -> list[Asked]:
    """At most so many held-out prompts with their reference answers, chosen by a hash of their ids."""
    # Of those that are measured: the template may have refused others.
    ids = sorted((row["row_ids"][0] for row in store.rows(tokenized, "heldout", ["row_ids"])), key=digest)
    wanted = {each: place for place, each in enumerate(ids[:samples])}
    rows = (row for row in store.rows(mixed, "heldout") if row["id"] in wanted)
    return [_of_row(row, renderer) for row in sorted(rows, key=lambda row: wanted[row["id"]])]


def _said(messages: Sequence[Message]) -> str:
    """A question alone, or the whole conversation that ends with it."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in messages)


def _of_row(row: Row, renderer: Renderer) -> Asked:
    first_answer = next(i for i, message in enumerate(row["messages"]) if message["role"] == "assistant")
    before: list[Message] = row["messages"][:first_answer]
    prompt, plain = renderer.prompt(before, row["tools"])
    item = Item(
        item_id=row["id"],
        cluster=row["source"],
        question=_said(before),
        answer=answer_text(row["messages"][: first_answer + 1]),
    )
    return Asked(
        benchmark=HELDOUT_ANSWERS,
        kind=HELDOUT_ANSWERS,
        form="generation",
        item=item,
        prompt=prompt,
        special=True,
        plain=tuple(plain),
    )
