"""GSM8K: word problems of school arithmetic; Cobbe et al., arXiv 2110.14168; MIT.

Five solved problems of the `train` split are shown, as lm-evaluation-harness's `gsm8k` does; always the first five,
where that draws others for each question. Right is an answer whose number behind `####`, or else whose last number,
is the solution's: a little more lenient than its `strict-match`, a little stricter than its `flexible-extract`.
"""

from tasks.algorithms.final_number import final_number
from tasks.artifacts.resource import Resource
from tasks.benchmarks.item import BenchmarkError, Item, Response, item_id, required
from tasks.benchmarks.splits import Row, first_examples, parted

KIND = "gsm8k"
VERSION = 2
SOURCE = "hf://datasets/openai/gsm8k/main"
LICENCE = "MIT"
FORMAT = "generation"
FEW_SHOT = 5
SPLITS = ("test", "train")

STOP = ("Question:", "</s>", "<|im_end|>")
MAX_NEW_TOKENS = 256
"""What lm-evaluation-harness allows an answer."""


def items(benchmark: Resource) -> list[Item]:
    """The problems of the test split, each by itself."""
    rows, examples = parted(benchmark, *SPLITS)
    shown = first_examples(benchmark, examples, SPLITS[1])
    context = "".join(f"{_asked(row)} {required(row[1], row[0], 'answer')}\n\n" for row in shown)
    return [_item(row, context) for row in rows]


def score(item: Item, response: Response) -> float:
    """1 where the answer comes to the right number."""
    return float(final_number(response.text) == final_number(item.answer))


def _item(row: Row, context: str) -> Item:
    place, fields = row
    number = final_number(str(required(fields, place, "answer")))
    if number is None:
        raise BenchmarkError(f"{place}: the answer has no number; give a solution that ends in #### and its result")
    return Item(
        item_id=item_id(fields, place),
        cluster=item_id(fields, place),
        question=str(required(fields, place, "question")),
        answer=f"{number:f}",  # str would write small ones with an exponent, which is read as another number
        prompt=_asked(row),
        context=context,
        stop=STOP,
        max_new_tokens=MAX_NEW_TOKENS,
    )


def _asked(row: Row) -> str:
    place, fields = row
    return f"Question: {required(fields, place, 'question')}\nAnswer:"
