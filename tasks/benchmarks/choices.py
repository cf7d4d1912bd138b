"""Choices and the right one, in the layouts that data sets give them, and what a choice scores."""

from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, Response, required
from tasks.benchmarks.splits import Row, first_examples, parted


def choices_of(row: Mapping[str, Any], place: str, *names: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The choices of a row and their labels.

    They are a list, a mapping `{A: …, B: …}`, a mapping of two lists `{text: […], label: […]}`, or columns A, B, ….
    """
    if all(row.get(letter) is not None for letter in "AB"):
        letters = tuple(letter for letter in ascii_uppercase if row.get(letter) is not None)
        return tuple(str(row[letter]) for letter in letters), letters
    given = required(row, place, *names)
    labels: Any = ascii_uppercase
    if isinstance(given, dict):
        # Parquet gives every row the letters of all rows, without a text where a row has none.
        there = {label: text for label, text in given.items() if text is not None}
        if {"text", "label"} <= given.keys():
            given, labels = given["text"], given["label"]
        else:
            given, labels = list(there.values()), list(there)
    if not isinstance(given, list) or len(given) < 2 or None in given:
        raise BenchmarkError(f"{place}: {names[0]} is {str(given)[:80]!r}; give a list of two or more texts")
    if not isinstance(labels, list | str) or (isinstance(labels, list) and len(labels) != len(given)):
        raise BenchmarkError(f"{place}: {len(given)} choices have the labels {str(labels)[:80]!r}; give one each")
    return tuple(map(str, given)), tuple(map(str, labels[: len(given)]))


def gold_of(value: Any, labels: Sequence[str], place: str) -> int:
    """The index of the right choice, given as a label or as an index; where labels are numbers, it is a label."""
    if isinstance(value, str | int) and not isinstance(value, bool) and str(value) in labels:
        return labels.index(str(value))
    index = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(labels):
        raise BenchmarkError(
            f"{place}: gold is {value!r}; give the index of one of {len(labels)} choices, or {', '.join(labels)}"
        )
    return index


def choice_items(benchmark: Resource, splits: tuple[str, str], read: Callable[[Row], Item]) -> list[Item]:
    """The items of the first split, behind examples of the second."""
    rows, examples = parted(benchmark, *splits)
    context = solved([read(row) for row in first_examples(benchmark, examples, splits[1])])
    return [read(row).model_copy(update={"context": context}) for row in rows]


def solved(examples: Sequence[Item]) -> str:
    """Examples with their right choice, a blank line behind each."""
    return "".join(f"{each.prompt}{each.continuations[each.gold[0]]}\n\n" for each in examples)


def accuracy(item: Item, response: Response) -> float:
    """1 where the likeliest choice is right."""
    return _right(item, response, lambda loglikelihood, _: loglikelihood)


def accuracy_norm(item: Item, response: Response) -> float:
    """1 where the choice with the highest log-likelihood for each of its characters is right.

    The `acc_norm` of lm-evaluation-harness, which divides by the choice's length without the blank in front of it.
    """
    return _right(item, response, lambda loglikelihood, choice: loglikelihood / max(len(choice), 1))


def _right(item: Item, response: Response, value: Callable[[float, str], float]) -> float:
    values = [value(*each) for each in zip(response.loglikelihoods, item.choices, strict=True)]
    return float(values.index(max(values)) in item.gold)
