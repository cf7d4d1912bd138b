"""Alpaca rows, pairs, labelled texts and preference rows, as people write them."""

from typing import Any

import pytest

from tasks.conversation import Message
from tasks.formats import reader
from tasks.formats.row import RowError
from tests.formats.making import asked, chat, sharegpt

ALPACA: list[tuple[dict[str, Any], list[Message]]] = [
    ({"instruction": "Add.", "input": "1 2", "output": "3"}, asked("Add.\n\n1 2", "3")),
    ({"instruction": "Name one.", "input": "", "output": "Paris"}, asked("Name one.", "Paris")),
    ({"instruction": "Name one.", "input": " \n", "output": "Paris"}, asked("Name one.", "Paris")),
    ({"instruction": "Name one.", "response": "Paris"}, asked("Name one.", "Paris")),
    (
        {"instruction": "Sum up.", "context": "Long.", "response": "S.", "category": "qa"},
        asked("Sum up.\n\nLong.", "S."),
    ),
    (
        {"instruction": "i", "input": "", "output": "o", "text": "### Instruction:\ni\n### Response:\no"},
        asked("i", "o"),
    ),
    (
        {"instruction": "c", "output": "d", "system": "s", "history": [["a", "b"]]},
        asked("a", "b", "c", "d", system_text="s"),
    ),
    ({"instruction": "c", "output": "d", "history": '[["a", "b"]]'}, asked("a", "b", "c", "d")),
    ({"instruction": "c", "output": "d", "history": None, "input": None}, asked("c", "d")),
    ({"instruction": "c", "output": "d", "history": ""}, asked("c", "d")),
]

PAIRS: list[tuple[dict[str, Any], list[Message]]] = [
    ({"prompt": "Hi", "completion": "Hello"}, asked("Hi", "Hello")),
    ({"prompt": "Hi", "response": "Hello", "history": []}, asked("Hi", "Hello")),
    ({"question": "Hi", "answer": "Hello"}, asked("Hi", "Hello")),
    ({"query": "Hi", "response": "Hello", "system": "Be brief"}, asked("Hi", "Hello", system_text="Be brief")),
    ({"system_prompt": "s", "question": "q", "response": "r", "id": "flan.1"}, asked("q", "r", system_text="s")),
    ({"prompt": "p", "completion": "c", "label": True}, asked("p", "c")),
    ({"input": "Hi", "output": "Hello"}, asked("Hi", "Hello")),
    ({"prompt": "Translate.", "input": "Haus", "output": "house"}, asked("Translate.\n\nHaus", "house")),
    ({"question": "Who?", "context": "Ann came.", "answer": "Ann"}, asked("Who?\n\nAnn came.", "Ann")),
    ({"instruction": "Hi", "answer": "Hello"}, asked("Hi", "Hello")),
    ({"question": "", "prompt": "Hi", "answer": "Hello"}, asked("Hi", "Hello")),
    ({"question": "Hi", "answer": ""}, asked("Hi", "")),
]

LABELLED: list[tuple[dict[str, Any], list[Message]]] = [
    ({"text": "My card?", "category": "card_arrival"}, asked("My card?", "card_arrival")),
    ({"sentence": "Sales rose.", "label": "positive"}, asked("Sales rose.", "positive")),
    ({"label": 1, "text": "stirring, funny"}, asked("stirring, funny", "1")),
    ({"label": 0, "label_text": "negative", "text": "dull"}, asked("dull", "negative")),
    ({"label": 1.0, "text": "read by way of a table with gaps"}, asked("read by way of a table with gaps", "1")),
    ({"label": 3.8, "sentence1": "a", "sentence2": "b"}, asked("a\n\nb", "3.8")),
    ({"label": True, "text": "spam"}, asked("spam", "true")),
    ({"premise": "It rains.", "hypothesis": "It is dry.", "label": 2}, asked("It rains.\n\nIt is dry.", "2")),
    (
        {"query": "Private?\na.) no\nb.) yes", "choices": ["no", "yes"], "gold": 1},
        asked("Private?\na.) no\nb.) yes", "yes"),
    ),
]

SPEAKS = {"from": "gpt", "value": "c"}
PREFERENCE: list[tuple[dict[str, Any], list[Message]]] = [
    ({"prompt": "p", "chosen": "c", "rejected": "r"}, asked("p", "c")),
    ({"question": "p", "chosen": "c", "rejected": "r", "system": "s"}, asked("p", "c", system_text="s")),
    ({"instruction": "i", "input": "x", "chosen": "c", "rejected": "r"}, asked("i\n\nx", "c")),
    ({"prompt": "p", "chosen": chat(("user", "p"), ("assistant", "c"))["messages"], "rejected": []}, asked("p", "c")),
    ({"prompt": "p", "chosen": chat(("assistant", "c"))["messages"], "rejected": []}, asked("p", "c")),
    (
        {"prompt": chat(("user", "a"), ("assistant", "b"), ("user", "p"))["messages"], "chosen": "c", "rejected": "r"},
        asked("a", "b", "p", "c"),
    ),
    (
        {**sharegpt(("system", "s"), ("human", "p")), "chosen": SPEAKS, "rejected": SPEAKS},
        asked("p", "c", system_text="s"),
    ),
    ({**sharegpt(("human", "p")), "chosen": [SPEAKS], "rejected": [SPEAKS]}, asked("p", "c")),
    ({"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: p\n\nAssistant: c", "rejected": ""}, asked("a", "b", "p", "c")),
]


@pytest.mark.parametrize(("row", "expected"), [*ALPACA, *PAIRS, *LABELLED, *PREFERENCE])
def test_a_row_is_recognised_and_read(row: dict[str, Any], expected: list[Message]) -> None:
    assert reader(None)(row).messages == expected


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"instruction": "Add.", "output": None}, "no answer"),
    ({"instruction": None, "output": "3"}, "no prompt"),
    ({"instruction": None, "input": "The capital of India", "output": "Delhi"}, "no prompt"),
    ({"instruction": "Add.", "output": 3}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": "earlier"}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": [["a"]]}, "wrong type"),
    ({"instruction": "c", "output": "d", "history": [["a", None]]}, "wrong type"),
    ({"instruction": "c", "output": "d", "tools": "hammer"}, "broken tools"),
    ({"question": "Hi", "answer": None}, "no answer"),
    ({"question": float("nan"), "answer": "x"}, "wrong type"),
    ({"question": "q", "context": {"title": "t"}, "answer": "a"}, "wrong type"),
    ({"prompt": "p", "completion": "c", "label": False}, "unwanted answer"),
    ({**chat(("user", "p"), ("assistant", "c")), "label": False}, "unwanted answer"),
    ({"text": "a", "label": None}, "no label"),
    ({"text": "a", "label": ""}, "no label"),
    ({"text": "a", "label": float("nan")}, "no label"),
    ({"text": "a", "label": float("inf")}, "wrong type"),
    ({"text": "a", "label": ["x", "y"]}, "wrong type"),
    ({"text": 5, "label": "x"}, "wrong type"),
    ({"query": "a", "choices": ["no", "yes"], "gold": 2}, "unknown label"),
    ({"query": "a", "choices": ["no", "yes"], "gold": -1}, "unknown label"),
    ({"prompt": "p", "chosen": None, "rejected": "r"}, "no answer"),
    ({"prompt": "p", "chosen": 1, "rejected": "r"}, "wrong type"),
    ({"chosen": "c", "rejected": "r"}, "no prompt"),
    ({"prompt": "p", "chosen": chat(("user", "p"))["messages"], "rejected": []}, "no answer"),
]


@pytest.mark.parametrize(("row", "cause"), REFUSED)
def test_a_row_that_cannot_be_read_says_why(row: dict[str, Any], cause: str) -> None:
    with pytest.raises(RowError) as caught:
        reader(None)(row)
    assert caught.value.cause == cause
    assert caught.value.detail
