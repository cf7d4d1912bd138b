"""Plain texts are read only where the recipe says that they are plain texts, and all of them is trained."""

import pytest

from tasks.algorithms.chat.rendering import ChatTemplate
from tasks.formats import reader
from tasks.formats.row import RowError
from tasks.ingestion import split_of

PLAIN = "{{ bos_token or '' }}{% for message in messages %}{{ message['content'] + eos_token }}{% endfor %}"


@pytest.mark.parametrize("field", ["text", "content", "document"])
def test_the_text_is_one_turn_that_nobody_asked_for(field: str) -> None:
    assert reader("text")({field: "Once upon a time.", "id": 3}).messages == [
        {"role": "assistant", "content": "Once upon a time."}
    ]


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ({"title": "x"}, "no text"),
        ({"text": 5}, "wrong type"),
        ({"text": "\ud800"}, "broken text"),
    ],
)
def test_rows_without_a_text_are_refused(row: dict[str, object], cause: str) -> None:
    with pytest.raises(RowError) as caught:
        reader("text")(row)
    assert caught.value.cause == cause


def test_a_text_alone_is_not_taken_for_a_plain_one() -> None:
    with pytest.raises(RowError, match="set the source's format to text") as caught:
        reader(None)({"text": "Once upon a time."})
    assert caught.value.cause == "no label"


def test_all_of_it_is_trained_with_its_end() -> None:
    template = ChatTemplate(PLAIN, bos="<s>", eos="</s>")
    messages = reader("text")({"text": "Once upon a time.\n\nThe end. "}).messages
    (text,) = template.trained(messages)
    assert text.text == "<s>Once upon a time.\n\nThe end. </s>"
    (span,) = text.spans
    assert text.text[slice(*span[:2])] == "Once upon a time.\n\nThe end. </s>"


def test_texts_fall_on_both_sides_of_the_split() -> None:
    texts = [reader("text")({"text": f"Document number {number} of many."}).messages for number in range(400)]
    sides = [split_of(messages, 0.25) for messages in texts]
    assert 60 < sides.count("heldout") < 140
