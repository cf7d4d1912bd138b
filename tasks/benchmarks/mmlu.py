"""MMLU: 14,042 four-way questions of 57 subjects; Hendrycks et al., arXiv 2009.03300; MIT.

Asked as lm-evaluation-harness's `mmlu` tasks do: the subject is named, five examples of its `dev` split are shown, and
the letter of a choice is scored. Rows hold `subject`, `question`, `choices` (or columns A to D) and `answer`.
"""

from collections import defaultdict

from tasks.artifacts.resource import Resource
from tasks.benchmarks.choices import accuracy, choices_of, gold_of, solved
from tasks.benchmarks.item import Item, Response, item_id, required
from tasks.benchmarks.splits import Row, first_examples, parted

KIND = "mmlu"
VERSION = 2
SOURCE = "hf://datasets/cais/mmlu/all"
LICENCE = "MIT"
FORMAT = "choices"
FEW_SHOT = 5
SPLITS = ("test", "dev")


def items(benchmark: Resource) -> list[Item]:
    """The questions of the test split, in clusters by subject."""
    rows, examples = parted(benchmark, *SPLITS)
    by_subject: dict[str, list[Row]] = defaultdict(list)
    for row in examples:
        by_subject[str(row[1].get("subject"))].append(row)
    contexts: dict[str, str] = {}
    found = []
    for row in rows:
        item = _item(row)
        if item.cluster not in contexts:
            of_subject = by_subject[item.cluster]
            shown = first_examples(benchmark, of_subject, SPLITS[1], f" of {item.cluster}")
            contexts[item.cluster] = _context(item.cluster, [_item(each) for each in shown])
        found.append(item.model_copy(update={"context": contexts[item.cluster]}))
    return found


def score(item: Item, response: Response) -> float:
    """1 where the likeliest letter is right."""
    return accuracy(item, response)


def _context(subject: str, examples: list[Item]) -> str:
    about = subject.replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {about}.\n\n{solved(examples)}"


def _item(row: Row) -> Item:
    place, fields = row
    choices, labels = choices_of(fields, place, "choices")
    question = str(required(fields, place, "question")).strip()
    lettered = "".join(f"{label}. {choice}\n" for label, choice in zip(labels, choices, strict=True))
    return Item(
        item_id=item_id(fields, place),
        cluster=str(required(fields, place, "subject")),
        question=question,
        choices=choices,
        gold=(gold_of(required(fields, place, "answer"), labels, place),),
        prompt=f"{question}\n{lettered}Answer:",
        continuations=tuple(f" {label}" for label in labels),
    )
