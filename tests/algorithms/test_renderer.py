"""Batches of rendered conversations: the fast way gives what the sure way gives, and control tokens stay text."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import trl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.algorithms.chat.layouts import LaidText, Layout, Turn
from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, ChatTemplate, RefusedConversation, Trained
from tests.algorithms.curious_templates import CURIOUS
from tests.algorithms.rendered_batches import Spans, batch, rows_of, turns
from tests.stages.making import CHATML, MISTRAL

SHIPPED = {path.stem: path for path in (Path(trl.__file__).parent / "chat_templates").glob("*.jinja")}
TRIMMED = CHATML.replace("message['content'] +", "message['content'] | trim +")
TEMPLATES = {
    "plain": PLAIN_TEMPLATE,
    "chatml": CHATML,
    "trimmed": TRIMMED,
    "mistral": MISTRAL,
    **{name: path.read_text() for name, path in sorted(SHIPPED.items())},
    **{
        f"curious: {name}": "{% for m in messages %}{{ '<' + m.role + '>' }}" + body + "{{ eos_token }}{% endfor %}"
        "{{ '<assistant>' if add_generation_prompt }}"
        for name, body in CURIOUS.items()
    },
}
USER, ASSISTANT, SYSTEM = (Turn(role, ("content",), False) for role in ("user", "assistant", "system"))
THINKING = Turn("assistant", ("content", "reasoning"), False)
SHAPES = (
    (USER, ASSISTANT),
    (SYSTEM, USER, ASSISTANT),
    (USER, THINKING),
    (USER, ASSISTANT._replace(weightless=True), USER, ASSISTANT),
    (USER, THINKING, USER, THINKING, USER),
)
ODD = [
    "a",
    "b</think>",
    "<think>\nc\n</think>\n\na",
    "<tool_response>a</tool_response>",
    "\x1c a \x85",
    "\u2003é漢😀\u2028",
    "<&\"'\\{{ x }}",
    "a\n",
    "\n\na",
    "<|im_end|>\n<|im_start|>assistant",
    "Hello, world.",
    "\ufeffa\u200b",
    "  ",
    "",
    "<|",
    "</s>",
    "[/INST] a ",
    "\r\n",
]


def one_by_one(
    template: ChatTemplate, conversations: Sequence[list[dict[str, Any]]], choice: Trained
) -> tuple[list[tuple[int, str, Spans]], dict[int, str]]:
    made, refused = [], {}
    for row, messages in enumerate(conversations):
        try:
            for each in template.trained(messages, None, choice):  # type: ignore[arg-type]
                spans: Spans = [
                    (len(each.text[:b].encode()), len(each.text[:e].encode()), turn) for b, e, turn in each.spans
                ]
                made.append((row, each.text, spans))
        except RefusedConversation as error:
            refused[row] = str(error)
    return made, refused


@functools.cache
def renderer(name: str) -> Renderer:
    return Renderer(ChatTemplate(TEMPLATES[name], bos="<s>", eos="</s>"), Trained(), special=[], added=[])


def said(shape: tuple[Turn, ...], texts: list[str]) -> list[dict[str, Any]]:
    fields = iter(texts)
    return [
        {
            "role": turn.role,
            **{name: next(fields) for name in turn.fields},
            **({"weight": 0.0} if turn.weightless else {}),
        }
        for turn in shape
    ]


@st.composite
def conversations_of_one_shape(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    shape = draw(st.sampled_from(SHAPES))
    fields = sum(len(turn.fields) for turn in shape)
    text = (
        st.sampled_from(ODD) | st.lists(st.sampled_from(ODD), min_size=2, max_size=3).map("".join) | st.text(max_size=9)
    )
    return [
        said(shape, texts)
        for texts in draw(st.lists(st.lists(text, min_size=fields, max_size=fields), min_size=18, max_size=24))
    ]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(conversations=conversations_of_one_shape())
def test_a_batch_is_what_its_conversations_are_one_by_one(name: str, conversations: list[list[dict[str, Any]]]) -> None:
    mine = renderer(name)
    rendered = mine(batch(conversations))
    made, refused = one_by_one(mine._template, conversations, Trained())
    assert rows_of(rendered) == made
    assert rendered.refused == refused


@pytest.mark.parametrize("name", ["plain", "chatml", "trimmed", "mistral", *sorted(SHIPPED)])
def test_real_templates_are_fast(name: str) -> None:
    takes_contents_apart = {"idefics3", "llava_next", "smolvlm"}
    fast = renderer(name).layout((USER, ASSISTANT)) is not None
    assert fast == (name.removesuffix("_training") not in takes_contents_apart)


def test_templates_that_look_at_a_message_have_no_layout_unless_the_answer_is_known_or_can_be_assumed() -> None:
    learnt = {name: renderer(f"curious: {name}").layout((USER, ASSISTANT)) for name in CURIOUS}
    known = {"trimmed newlines", "twice", "named", "blank", "dated", "tagged"}
    assumed = {
        "captured",
        "macro",
        "in a list",
        "starts",
        "ends",
        "equal",
        "split",
        "split thrice",
        "selected",
        "default",
    }
    assert {name for name, layout in learnt.items() if layout is not None and not layout.absent} == known
    assert {name for name, layout in learnt.items() if layout is not None and layout.absent} == assumed


def test_what_is_not_trained_by_choice_is_not_trained_in_either_way() -> None:
    conversations = [said((USER, THINKING, USER, THINKING), [f"{n}", "a", "b", "c", "d", "e"]) for n in range(20)]
    template = ChatTemplate(TEMPLATES["qwen3_training"], bos=None, eos="<|im_end|>")
    for choice in (Trained(turns="last"), Trained(reasoning=False), Trained(turns="last", reasoning=False)):
        mine = Renderer(template, choice, special=[], added=[])
        rendered = mine(batch(conversations))
        assert rows_of(rendered) == one_by_one(template, conversations, choice)[0]
        assert mine.layout((USER, THINKING, USER, THINKING)) is not None


@pytest.mark.parametrize(
    "space", [chr(code) for code in range(0x3100) if chr(code).isspace()] + ["\u200b", "\ufeff", "\x08"]
)
def test_white_space_is_trimmed_as_the_template_does_it(space: str) -> None:
    conversations = [turns(text, text) for text in (f"{space}a{space}b{space}", f"a{space}", f" {space} é") * 8]
    mine = renderer("trimmed")
    rendered = mine(batch(conversations))
    assert mine.layout((USER, ASSISTANT)) is not None
    assert rows_of(rendered) == one_by_one(mine._template, conversations, Trained())[0]


def test_a_layout_that_differs_is_given_up_and_the_batch_rendered_anew() -> None:
    mine = Renderer(ChatTemplate(CHATML, bos=None, eos="</s>"), Trained(), special=[], added=[])
    conversations = [turns(f"q{n}", f"a{n}") for n in range(40)]
    expected = rows_of(mine(batch(conversations)))
    shape = (USER, ASSISTANT)
    learnt = mine.layout(shape)
    assert learnt is not None
    (text,) = learnt.texts
    mine._layouts[shape] = Layout((LaidText(("?", *text.literals[1:]), text.pieces, text.spans),), (), ())
    mine._seen.clear()
    assert rows_of(mine(batch(conversations))) == expected
    assert mine.layout(shape) is None


def test_several_texts_of_one_conversation_follow_one_another() -> None:
    conversations = [said((USER, THINKING, USER, THINKING), [f"{n}", "a", "b", "c", "d", "e"]) for n in range(30)]
    conversations[7:7] = [turns("q", "a", "q"), turns("q", ""), turns("q", "a")]
    mine = renderer("qwen3")
    rendered = mine(batch(conversations))
    assert mine.layout((USER, THINKING, USER, THINKING)) is not None
    assert rendered.rows.tolist() == sorted([*range(33), *range(7), *range(10, 33)])
    assert rows_of(rendered) == one_by_one(mine._template, conversations, Trained())[0]


def test_conversations_without_messages_and_batches_without_conversations() -> None:
    rendered = renderer("chatml")(batch([None, turns("q", "a"), []], [None, "", None]))
    assert rendered.rows.tolist() == [1]
    assert rendered.refused == dict.fromkeys([0, 2], "it has no messages")
    for empty in (batch([]), batch([], []), pa.Table.from_batches([], batch([], []).schema)):
        nothing = renderer("chatml")(empty)
        assert (len(nothing.texts), nothing.trained.offsets.tolist(), nothing.plain.offsets.tolist()) == (0, [0], [0])


def test_a_refused_conversation_leaves_the_others() -> None:
    conversations = [
        said((SYSTEM, USER, ASSISTANT), ["s", "q", "a"]) if n % 5 == 3 else turns("q", "a") for n in range(40)
    ]
    rendered = renderer("mistral")(batch(conversations))
    assert sorted(rendered.refused) == list(range(3, 40, 5))
    assert "roles must alternate" in rendered.refused[3]
    assert rendered.rows.tolist() == [n for n in range(40) if n % 5 != 3]


def test_what_cannot_be_written_is_refused() -> None:
    calls = json.dumps([{"type": "function", "function": {"name": "f", "arguments": {"x": "\ud800"}}}])
    message = {"role": "assistant", "content": "a", "tool_calls": calls}
    rendered = renderer("qwen2_5")(batch([[{"role": "user", "content": "q"}, message]]))
    assert "surrogate" in rendered.refused[0]


def test_calls_that_are_no_json_are_refused() -> None:
    message = {"role": "assistant", "content": "a", "tool_calls": "[{"}
    rendered = renderer("qwen2_5")(batch([[{"role": "user", "content": "q"}, message], turns("q", "a")]))
    assert list(rendered.refused) == [0]
    assert "no JSON" in rendered.refused[0]


def test_one_odd_conversation_is_treated_alike_alone_and_among_others() -> None:
    odd = turns("q", "".join(map(chr, range(0xFDD0, 0xFDF0))))
    alone, among = renderer("chatml")(batch([odd])), renderer("chatml")(batch([*[turns("q", "a")] * 20, odd]))
    assert rows_of(alone) == [(0, *row[1:]) for row in rows_of(among) if row[0] == 20]
    assert list(alone.refused.values()) == list(among.refused.values())


def test_conversations_of_which_none_is_as_the_layout_takes_them_to_be() -> None:
    conversations = [turns("q", f"{n}</think>a") for n in range(20)]
    mine = renderer("qwen3_training")
    assert rows_of(mine(batch(conversations))) == one_by_one(mine._template, conversations, Trained())[0]


@pytest.mark.parametrize("name", ["qwen3", "qwen3_training"])
def test_answers_of_which_a_part_is_lost_are_refused_among_others(name: str) -> None:
    conversations = [turns("q", "A </think> LOST </think> B." if n == 9 else f"a{n}") for n in range(20)]
    mine = renderer(name)
    rendered = mine(batch(conversations))
    assert mine.layout((USER, ASSISTANT)) is not None
    assert rendered.refused == {9: "at turn 2 the chat template does not show its content as it is"}
    assert rows_of(rendered) == one_by_one(mine._template, conversations, Trained())[0]


def test_a_conversation_that_a_template_does_not_end_for_leaves_the_others() -> None:
    endless = (
        "{% if 'Zebra' in messages[0].content %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}"
    )
    source = endless + "{% endfor %}{% endif %}" + CHATML
    mine = Renderer(ChatTemplate(source, bos=None, eos="</s>"), Trained(), special=[], added=[])
    rendered = mine(batch([turns("Zebra?" if n == 5 else "q", "a") for n in range(20)]))
    assert mine.layout((USER, ASSISTANT)) is not None
    assert list(rendered.refused) == [5]
    assert "does not come to an end" in rendered.refused[5]


def test_parts_of_tables_and_rows_are_read_in_their_place() -> None:
    conversations = [
        turns(f"q{n}", f"a{n}") if n % 3 else [{"role": "system", "content": "s"}, *turns("q", f"a{n}")]
        for n in range(90)
    ]
    whole = batch(conversations, [None] * 90)
    expected = rows_of(renderer("chatml")(whole))
    assert rows_of(renderer("chatml")(pa.Table.from_batches([whole.slice(0, 40), whole.slice(40)]))) == expected
    assert [row[1:] for row in rows_of(renderer("chatml")(whole.slice(31, 50)))] == [row[1:] for row in expected[31:81]]


def test_a_prompt_tells_which_control_tokens_its_question_only_spells() -> None:
    made = Renderer(
        ChatTemplate(CHATML, bos="<s>", eos="</s>"), Trained(), special=["<|im_start|>", "<|im_end|>"], added=[]
    )
    text, plain = made.prompt([{"role": "user", "content": "é: what does <|im_end|> do?"}])
    assert text == "<|im_start|>user\né: what does <|im_end|> do?<|im_end|>\n<|im_start|>assistant\n"
    assert [text.encode()[begin:end] for begin, end in plain] == [b"<|im_end|>"]
    assert plain[0][0] < text.encode().rindex(b"<|im_end|>")
