"""What is put before the judge: prompts drawn, answers paired, sentinels made."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np

from tasks.algorithms.gate.pairs import IncomparableError
from tasks.artifacts.fingerprint import digest
from tasks.benchmarks import mt_bench
from tasks.judging.asked import Request
from tasks.judging.prompts import graded, pairwise

Sentinel = Literal["", "equal", "spoiled"]
Rows = Sequence[Mapping[str, Any]]

FEWEST_WORDS = 6
"""Answers with fewer words are spoiled letter by letter: half of "Yes." may still say it."""


@dataclass(frozen=True)
class Prompt:
    """A prompt of one turn or more, with every model's answers to each."""

    benchmark: str
    prompt_id: str
    category: str
    turns: tuple[str, ...]
    answers: Mapping[str, tuple[str, ...]]
    """By model."""
    references: tuple[str, ...]
    """What the judge may compare with; empty where it judges by itself."""
    sound: str
    """The data set's own answer to the first turn; empty where it has none."""
    is_graded: bool

    @property
    def place(self) -> str:
        """By what it is drawn: stable, whatever else is in the file."""
        return digest([self.benchmark, self.prompt_id])


@dataclass(frozen=True)
class Pair:
    """Two answers to the last of some turns; `right` wins or loses against `left`."""

    prompt: Prompt
    turn: int
    left: str
    right: str
    answers: tuple[tuple[str, ...], tuple[str, ...]]
    """Left's and right's, turn by turn up to this one."""
    sentinel: Sentinel = ""

    @property
    def is_settled(self) -> bool:
        """Whether nobody needs to be asked: equal answers tie. A sentinel asks just that."""
        return not self.sentinel and self.answers[0] == self.answers[1]

    def requests(self, max_tokens: int) -> tuple[Request, Request]:
        """The two orders: left first, then right first."""
        turns, references = self.prompt.turns[: self.turn], self.prompt.references[: self.turn]
        left, right = self.answers
        return (
            Request(pairwise(turns, left, right, references), max_tokens),
            Request(pairwise(turns, right, left, references), max_tokens),
        )


@dataclass(frozen=True)
class Grading:
    """One model's answer to the last of some turns, graded by itself."""

    prompt: Prompt
    turn: int
    model: str

    def request(self, max_tokens: int) -> Request:
        """The question for its grade."""
        prompt, turn = self.prompt, self.turn
        question = graded(prompt.turns[:turn], prompt.answers[self.model][:turn], prompt.references[:turn])
        return Request(question, max_tokens)


def read_prompts(items: Rows, answers: Mapping[str, Rows], benchmarks: Sequence[str], unscored: str) -> list[Prompt]:
    """The prompts of some benchmarks with the generated answers of every model.

    Items of the benchmark named `unscored` hold an answer of the data set, which is one of many good ones, so the judge
    does not see it. Raises `IncomparableError` where the models did not answer the same items in the same words.
    """
    chosen = [item for item in items if item["benchmark"] in benchmarks and item["form"] == "generation"]
    shown = {model: {(row["benchmark"], row["item_id"]): row for row in rows} for model, rows in answers.items()}
    turns: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for item in chosen:
        _require_one_wording(item, shown)
        turns.setdefault((item["benchmark"], _prompt_id(item)), []).append(item)
    return [_prompt(name, each, shown, unscored) for name, each in turns.items()]


def drawn(prompts: Iterable[Prompt], most: int, seed: int) -> list[Prompt]:
    """At most so many prompts by a stable hash, in the order in which they are asked."""
    return sorted(prompts, key=lambda prompt: digest([seed, prompt.place]))[:most]


def pairs(prompts: Iterable[Prompt], models: Sequence[str]) -> list[Pair]:
    """Every turn of every prompt, each two of the models; the model named first stands on the left."""
    return [
        Pair(prompt, turn, left, right, (prompt.answers[left][:turn], prompt.answers[right][:turn]))
        for prompt in prompts
        for turn in range(1, len(prompt.turns) + 1)
        for left, right in combinations(models, 2)
    ]


def gradings(prompts: Iterable[Prompt], models: Sequence[str]) -> list[Grading]:
    """Every turn of every prompt that is graded, each model by itself."""
    return [
        Grading(prompt, turn, model)
        for prompt in prompts
        if prompt.is_graded
        for turn in range(1, len(prompt.turns) + 1)
        for model in models
    ]


def sentinels(prompts: Sequence[Prompt], model: str, count: int, seed: int) -> list[Pair]:
    """Pairs whose verdict is known, of first answers: half equal, half with one spoiled.

    The sound answer is the data set's own where there is one, else the model's, of prompts drawn by the seed.
    """
    usable = [
        (prompt, text)
        for prompt in sorted(prompts, key=lambda prompt: (not prompt.sound, digest([seed, "sentinel", prompt.place])))
        if spoiled(text := prompt.sound or prompt.answers[model][0], seed) != text.strip()
    ]
    made = []
    for number, (prompt, text) in enumerate(usable[:count]):
        if number % 2:
            answers = ((text,), (text,))
            made.append(Pair(prompt, 1, "sound", "sound", answers, "equal"))
        else:
            answers = ((text,), (spoiled(text, seed),))
            made.append(Pair(prompt, 1, "sound", "spoiled", answers, "spoiled"))
    return made


def spoiled(text: str, seed: int) -> str:
    """The text with its words in disorder and half of them gone: no help to anybody."""
    words = text.split()
    if len(words) < FEWEST_WORDS:
        return text.strip()[::-1]
    order = np.random.default_rng(seed).permutation(len(words))
    return " ".join(words[place] for place in order[: len(words) // 2])


def _prompt_id(item: Mapping[str, Any]) -> str:
    name: str = item["item_id"]
    return mt_bench.prompt_and_turn(name)[0] if item["kind"] == mt_bench.KIND else name


def _require_one_wording(item: Mapping[str, Any], shown: Mapping[str, Mapping[tuple[str, str], Any]]) -> None:
    # Of a second turn the words differ, since each model's own first answer stands in them.
    is_later = item["kind"] == mt_bench.KIND and mt_bench.prompt_and_turn(item["item_id"])[1] > 1
    found = [rows.get((item["benchmark"], item["item_id"])) for rows in shown.values()]
    wordings = {row["prompt_sha256"] for row in found if row is not None}
    if None in found or (len(wordings) > 1 and not is_later):
        raise IncomparableError(
            f"{item['benchmark']} {item['item_id']}: the models ({', '.join(shown)}) were not asked the same question "
            "in the same words; measure them again with one recipe"
        )


def _prompt(
    name: tuple[str, str],
    items: Sequence[Mapping[str, Any]],
    shown: Mapping[str, Mapping[tuple[str, str], Any]],
    unscored: str,
) -> Prompt:
    benchmark, prompt_id = name
    items = sorted(items, key=lambda item: item["item_id"])
    references = tuple(item["answer"] for item in items) if benchmark != unscored else ()
    return Prompt(
        benchmark=benchmark,
        prompt_id=prompt_id,
        category=items[0]["cluster"],
        turns=tuple(item["question"] for item in items),
        answers={
            model: tuple(rows[benchmark, item["item_id"]]["shown"] for item in items) for model, rows in shown.items()
        },
        references=references if all(references) else (),
        sound=items[0]["answer"],
        is_graded=items[0]["kind"] == mt_bench.KIND,
    )
