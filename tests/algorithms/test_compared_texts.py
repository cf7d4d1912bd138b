"""What is compared of conversations, however Arrow holds them."""

from typing import Any

import pyarrow as pa
import pytest

from tasks.algorithms.compared_texts import Messages, asked_texts, compared_texts
from tasks.conversation import MESSAGE

ROWS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "left out by the slice"}],
    [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "1", "reasoning": "Hm."},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": None, "tool_calls": "[2]"},
        {"role": "tool", "content": "two"},
    ],
    [],
    [{"role": "assistant", "content": "Nobody asked."}],
]


@pytest.mark.parametrize(
    ("over", "texts"),
    [
        ("prompt", ["One?", "", ""]),
        ("answer", ["Hm.\n1\n[2]", "", "Nobody asked."]),
        ("conversation", ["One?\nHm.\n1\nTwo?\n[2]", "", "Nobody asked."]),
    ],
)
def test_each_side_is_joined_in_order(over: Any, texts: list[str]) -> None:
    messages = Messages.of(pa.array(ROWS, pa.list_(MESSAGE)).slice(1))
    assert compared_texts(messages, over).to_pylist() == texts


def test_what_the_last_answer_answers_is_all_before_it() -> None:
    messages = Messages.of(pa.chunked_array([pa.array(ROWS, pa.list_(MESSAGE)).slice(1)]))
    assert asked_texts(messages).to_pylist() == ["Be short.\nOne?\n1\nTwo?", "", ""]
    assert messages.sizes().tolist() == [27, 0, 13]


def test_no_rows_at_all() -> None:
    messages = Messages.of(pa.array([], pa.list_(MESSAGE)))
    assert compared_texts(messages, "prompt").to_pylist() == asked_texts(messages).to_pylist() == []
