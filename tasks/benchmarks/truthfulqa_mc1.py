"""TruthfulQA, mc1: the one true answer among false ones; its share of right choices."""

from tasks.artifacts.resource import Resource
from tasks.benchmarks import truthfulqa
from tasks.benchmarks.choices import accuracy
from tasks.benchmarks.item import BenchmarkError, Item, Response

KIND = "truthfulqa_mc1"
VERSION = 3
SOURCE = truthfulqa.SOURCE
LICENCE = truthfulqa.LICENCE
FORMAT = "choices"
SPLITS = truthfulqa.SPLITS


def items(benchmark: Resource) -> list[Item]:
    """Rows with `question` and `mc1_targets`, which marks exactly one choice as true."""
    found = truthfulqa.items_of(benchmark, "mc1_targets")
    for item in found:
        if len(item.gold) != 1:
            raise BenchmarkError(
                f"{item.item_id}: mc1_targets marks {len(item.gold)} choices as true; exactly one must be"
            )
    return found


def score(item: Item, response: Response) -> float:
    """1 where the likeliest choice is the true one."""
    return accuracy(item, response)
