"""Chat templates: what they write, what of it is trained, and which ones cannot be used."""

import json
import re
import time
from datetime import date
from typing import Any

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.algorithms.chat import bounds
from tasks.algorithms.chat.rendering import (
    PLAIN_TEMPLATE,
    ChatTemplate,
    RefusedConversation,
    TemplateError,
    Trained,
)
from tasks.algorithms.chat.template_check import check_template
from tasks.conversation import Message
from tests.stages.making import CHATML, MISTRAL, chat

LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set sys = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set sys = false %}{% endif %}"
    "{% for message in rest %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + ('<<SYS>>\\n' + sys + '\\n<</SYS>>\\n\\n' if loop.first and sys else '')"
    " + message['content'].strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
THINKING = (
    "{% for m in messages %}<{{ m['role'] }}>"
    "{% if m['role'] == 'assistant' and loop.last %}<think>{{ m.reasoning_content }}</think>{% endif %}"
    "{{ m['content'] }}{% for c in m.tool_calls or [] %}<call>{{ c.function.name }}{{ c.function.arguments | tojson }}"
    "</call>{% endfor %}<end>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
TAGGED = (
    "{% for m in messages %}{{ m['role'] }}: {% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] + '<end>' }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}{{ '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)


def spans_of(source: str, row: dict[str, Any], bos: str | None = "<s>") -> tuple[str, list[str]]:
    (made,) = ChatTemplate(source, bos=bos, eos="</s>").trained(row["messages"])
    return made.text, [made.text[begin:end] for begin, end, _ in made.spans]


def unrolled(source: str, messages: list[Message], choice: Trained = Trained()) -> list[str]:  # noqa: B008
    """Each text, with what is trained in brackets behind the turn's index."""
    shown = []
    for made in ChatTemplate(source, bos=None, eos="</s>").trained(messages, choice=choice):
        text, place = "", 0
        for begin, end, turn in made.spans:
            text += f"{made.text[place:begin]}⟦{turn}:{made.text[begin:end]}⟧"
            place = end
        shown.append(text + made.text[place:])
    return shown


ONE, TWO = chat("Hi", "Hello."), chat("Hi", "Hello.", "Hi", "Hello.")
SYSTEM = chat("Hi", "Hello.", system="Be kind.")


@pytest.mark.parametrize(
    ("source", "row", "text", "spans"),
    [
        (PLAIN_TEMPLATE, ONE, "<s>### Instruction:\nHi\n\n### Response:\nHello.</s>", ["Hello.</s>"]),
        (
            PLAIN_TEMPLATE,
            TWO,
            "<s>### Instruction:\nHi\n\n### Response:\nHello.</s>\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>",
            ["Hello.</s>"] * 2,
        ),
        (
            PLAIN_TEMPLATE,
            SYSTEM,
            "<s>Be kind.\n\n### Instruction:\nHi\n\n### Response:\nHello.</s>",
            ["Hello.</s>"],
        ),
        (
            CHATML,
            SYSTEM,
            "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n",
            ["Hello.<|im_end|>\n"],
        ),
        (
            CHATML,
            TWO,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n" * 2,
            ["Hello.<|im_end|>\n"] * 2,
        ),
        (LLAMA2, TWO, "<s>[INST] Hi [/INST] Hello. </s>" * 2, [" Hello. </s>"] * 2),
        (LLAMA2, SYSTEM, "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello. </s>", [" Hello. </s>"]),
        (MISTRAL, TWO, "<s>[INST] Hi [/INST]Hello.</s>[INST] Hi [/INST]Hello.</s>", ["Hello.</s>"] * 2),
        (
            CHATML.replace("{% endfor %}", "{% generation %}{% endgeneration %}{% endfor %}", 1),
            ONE,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n",
            ["Hello.<|im_end|>\n"],
        ),
        (TAGGED, TWO, "user: Hi\nassistant: Hello.<end>\n" * 2, ["Hello.<end>"] * 2),
    ],
)
def test_what_is_written_and_trained(source: str, row: dict[str, Any], text: str, spans: list[str]) -> None:
    assert spans_of(source, row) == (text, spans)


@pytest.mark.parametrize(
    "answer",
    ["Hi", "Hello [/INST]", "### Response:\n", "<|im_end|>", "<|im_end|>\n", "a\n\n### Instruction:\nb", "<", ""],
)
@pytest.mark.parametrize("source", [PLAIN_TEMPLATE, CHATML, MISTRAL])
def test_answers_that_look_like_the_template(source: str, answer: str) -> None:
    _, spans = spans_of(source, chat("Hi", answer, "Hi", "Hi"))
    end = "<|im_end|>\n" if source is CHATML else "</s>"
    assert spans == [f"{answer}{end}", f"Hi{end}"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=8), min_size=2, max_size=6), st.sampled_from(["", "<|im_start|>assistant\n", "</s>"]))
def test_any_text_stays_in_its_turn(texts: list[str], spelt: str) -> None:
    row = chat(*texts[: len(texts) // 2 * 2], spelt, spelt)
    (made,) = ChatTemplate(CHATML, bos=None, eos="</s>").trained(row["messages"])
    expected = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in row["messages"])
    assert made.text == expected
    answers = [(index, m["content"]) for index, m in enumerate(row["messages"]) if m["role"] == "assistant"]
    assert [(turn, made.text[begin:end]) for begin, end, turn in made.spans] == [
        (index, f"{content}<|im_end|>\n") for index, content in answers
    ]


def test_a_tokenizer_without_bos_writes_none() -> None:
    text, _ = spans_of("{{ bos_token }}" + CHATML, ONE, bos=None)
    assert text.startswith("<|im_start|>user")


def test_a_tail_that_only_the_last_turn_has_ends_that_turn() -> None:
    # `<|im_start|>` and `<|endoftext|>` begin alike; written as one bit, too, a token is never halved.
    source = CHATML + "{{ '' if add_generation_prompt else '<|endoftext|>' }}"
    whole = "{% set text %}" + source + "{% endset %}{{ text }}"
    for each in (source, whole):
        _, spans = spans_of(each, TWO)
        assert [span.rstrip("\n") for span in spans] == ["Hello.<|im_end|>", "Hello.<|im_end|>\n<|endoftext|>"]


def test_where_nothing_ends_an_answer_the_next_header_does() -> None:
    source = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}<|assistant|>"
    source = source.replace("<|assistant|>", "{% if add_generation_prompt %}<|assistant|>{% endif %}")
    assert spans_of(source, TWO) == ("<|user|>Hi<|assistant|>Hello." * 2 + "<|user|>", ["Hello.<|user|>"] * 2)


@pytest.mark.parametrize(
    ("source", "spans"),
    [
        # A block inside a block is one span.
        (TAGGED.replace("{{ m['content'] + ", "{% generation %}{{ m['content'] }}{% endgeneration %}{{ "), None),
        # Kept in a variable, and through a filter.
        (
            TAGGED.replace("{% generation %}", "{% set kept %}{% generation %}").replace(
                "{% endgeneration %}", "{% endgeneration %}{% endset %}{{ kept | trim }}"
            ),
            None,
        ),
        # Blocks that touch are one span.
        (TAGGED.replace(" + '<end>'", "}}{% endgeneration %}{% generation %}{{ '<end>'"), None),
        # What the generation prompt supplies is not trained, tagged or not.
        (
            TAGGED.replace("{{ m['role'] }}: ", "{{ m['role'] + ': ' if m['role'] != 'assistant' else '' }}").replace(
                "{% generation %}", "{% generation %}assistant: "
            ),
            None,
        ),
        # A text that begins with a tag (transformers 47325).
        ("{% for m in messages %}{% generation %}{{ m['content'] }};{% endgeneration %}{% endfor %}", ["Hello.;"] * 2),
    ],
)
def test_generation_tags(source: str, spans: list[str] | None) -> None:
    plain = source.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    text, found = spans_of(source, TWO)
    assert text == spans_of(plain, TWO)[0]
    assert found == (spans or ["Hello.<end>"] * 2)


def test_an_unset_variable_of_a_tagged_block_stays_inside() -> None:
    # As in transformers: a block is a scope of its own.
    source = "{% set x = 1 %}" + TAGGED.replace("{% endgen", "{% set x = 2 %}{% endgen") + "{{ x }}"
    assert spans_of(source, ONE)[0].endswith("<end>\n1")


THOUGHTS: list[Message] = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "2", "reasoning": "Add."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4", "reasoning": "Again."},
]
CALL = json.dumps([{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}])
CALLS: list[Message] = [
    {"role": "user", "content": "1+1?"},
    {"role": "assistant", "content": "I add.", "reasoning": "Add.", "tool_calls": CALL},
    {"role": "tool", "content": "2"},
    {"role": "assistant", "content": "2", "reasoning": "Done."},
]


def test_rewritten_history_is_unrolled() -> None:
    assert unrolled(THINKING, THOUGHTS) == [
        "<user>1+1?<end>\n<assistant>⟦1:<think>Add.</think>2<end>\n⟧",
        "<user>1+1?<end>\n<assistant>2<end>\n<user>2+2?<end>\n<assistant>⟦3:<think>Again.</think>4<end>\n⟧",
    ]


def test_turns_that_a_text_holds_as_they_were_written_share_it() -> None:
    # This template keeps the thoughts since the last question.
    source = THINKING.replace("loop.last", "loop.index0 > ns.last")
    source = (
        "{% set ns = namespace(last=-1) %}{% for m in messages %}{% if m['role'] == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}"
    ) + source
    asked: list[Message] = [*CALLS, {"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "Ok"}]
    first, second = unrolled(source, asked)
    call = '<call>add{"a": 1}</call><end>\n'
    assert first == (
        f"<user>1+1?<end>\n<assistant>⟦1:<think>Add.</think>I add.{call}⟧<tool>2<end>\n"
        "<assistant>⟦3:<think>Done.</think>2<end>\n⟧"
    )
    assert second.count("⟦") == 1
    assert second.endswith("<assistant>⟦5:<think></think>Ok<end>\n⟧")


def test_a_prompt_that_opens_a_thought_is_given_to_the_model() -> None:
    source = THINKING.replace("<assistant>{% endif %}", "<assistant><think>\n{% endif %}")
    assert unrolled(source, THOUGHTS[:2]) == ["<user>1+1?<end>\n<assistant><think>⟦1:Add.</think>2<end>\n⟧"]
    # What the answer itself happens to begin with is no part of the prompt.
    bare = CHATML.replace("assistant\\n' }}{% endif", "assistant\\n<think>\\n' }}{% endif")
    assert spans_of(bare, chat("Hi", "<b>Hello</b>"))[1] == ["<b>Hello</b><|im_end|>\n"]
    assert spans_of(bare, chat("Hi", "<think>\nHm</think>Hello"))[1] == ["Hm</think>Hello<|im_end|>\n"]


@pytest.mark.parametrize(
    ("choice", "turns"),
    [
        (Trained(), ['<think>Add.</think>I add.<call>add{"a": 1}</call><end>\n', "<think>Done.</think>2<end>\n"]),
        (Trained(turns="last"), ["<think>Done.</think>2<end>\n"]),
        (Trained(reasoning=False), ['I add.<call>add{"a": 1}</call><end>\n', "2<end>\n"]),
        (Trained(tool_calls=False), ["<think>Add.</think>I add.", "<end>\n", "<think>Done.</think>2<end>\n"]),
        (Trained(reasoning=False, tool_calls=False), ["I add.", "<end>\n", "2<end>\n"]),
    ],
)
def test_what_a_recipe_trains(choice: Trained, turns: list[str]) -> None:
    source = THINKING.replace(" and loop.last", "")
    (made,) = ChatTemplate(source, bos=None, eos="</s>").trained(CALLS, choice=choice)
    assert [made.text[begin:end] for begin, end, _ in made.spans] == turns


def test_a_turn_of_nothing_but_what_is_not_trained_is_not_trained() -> None:
    bare: list[Message] = [CALLS[0], {"role": "assistant", "content": " ", "tool_calls": CALL}, *CALLS[2:]]
    source = THINKING.replace(" and loop.last", "")
    (made,) = ChatTemplate(source, bos=None, eos="</s>").trained(bare, choice=Trained(tool_calls=False))
    assert {turn for *_, turn in made.spans} == {3}


def test_a_turn_of_weight_0_is_context_only() -> None:
    messages: list[Message] = [*TWO["messages"]]
    messages[1] = {**messages[1], "weight": 0.0}
    assert unrolled(CHATML, messages)[0].count("⟦") == 1
    (made,) = ChatTemplate(CHATML, bos=None, eos="</s>").trained(messages[:2])
    assert made.spans == []


def test_a_system_turn_may_be_written_anywhere() -> None:
    # Some write it into the last question; so an earlier answer came without it, or with it elsewhere.
    source = (
        "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>"
        "{{ messages[0]['content'] + ' ' if loop.index0 == messages | length - 1 + (-1 if "
        "messages[-1]['role'] == 'assistant' else 0) else '' }}{{ m['content'] }}<end>{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    assert unrolled(source, chat("a", "b", "c", "d", system="S")["messages"]) == [
        "<user>S a<end><assistant>⟦2:b<end>⟧",
        "<user>a<end><assistant>b<end><user>S c<end><assistant>⟦4:d<end>⟧",
    ]


def test_the_date_is_that_of_the_recipe() -> None:
    source = "{{ strftime_now('%d %b %Y') }}" + CHATML
    assert ChatTemplate(source, bos=None, eos="").render(ONE["messages"]).startswith("26 Jul 2024")
    later = ChatTemplate(source, bos=None, eos="", date=date(2026, 1, 2))
    assert later.render(ONE["messages"]).startswith("02 Jan 2026")


@pytest.mark.parametrize(
    ("source", "row", "says"),
    [
        (MISTRAL, SYSTEM, "^roles must alternate user/assistant"),
        ("{{ 1 / (messages | length - 2) }}" + CHATML, ONE, "division by zero"),
        ("{{ messages[0]['content'][9]['text'] }}" + CHATML, ONE, "has no element 9"),
        (CHATML, chat("Hi", "one\udc80"), None),
        (
            "{{ messages | map(attribute='content') | join('|') }}\n" + CHATML,
            ONE,
            "at turn 2 the chat template writes",
        ),
        (
            "{{ messages | length }}{% for m in messages %}{{ m['content'] }};{% endfor %}",
            ONE,
            "at turn 2 the chat template writes the turns before it differently once it is there",
        ),
        (
            CHATML.replace("message['content']", "message['content'] | upper"),
            ONE,
            "at turn 2 .* does not show its content",
        ),
        (CHATML + "{% for a in range(99) %}{{ 'x' * 1000000 }}{% endfor %}", ONE, "more than 50,000,000 characters"),
    ],
)
def test_conversations_that_a_template_refuses(source: str, row: dict[str, Any], says: str | None) -> None:
    template = ChatTemplate(source, bos="<s>", eos="</s>")
    if says is None:
        assert template.trained(row["messages"])[0].text.endswith("\udc80<|im_end|>\n")
        return
    with pytest.raises(RefusedConversation, match=says):
        template.trained(row["messages"])


def test_a_call_that_is_not_written_is_not_learnt_as_an_empty_answer() -> None:
    with pytest.raises(RefusedConversation, match="at turn 2 the chat template does not write its call of 'add'"):
        ChatTemplate(CHATML, bos=None, eos="</s>").trained(CALLS)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("\n{% for message in messages %}", r"broken in line 2: Unexpected end of template"),
        ("{{ messages | shout }}", r"broken in line 1: No filter named 'shout'"),
        ("\n{{ greeting }}" + CHATML, r"'greeting' is undefined \(line 2\)"),
        (
            CHATML + "\n{% if messages[0]['role'] == 'system' %}{{ greeting }}{% endif %}",
            r"fails: 'greeting' is undefined \(line 2\)",
        ),
        ("{{ messages[9]['content'] }}", r"fails on a plain question .* has no element 9 \(line 1\)"),
        ("{{ messages[0].nothing.at_all }}", "fails on a plain question"),
        ("{{ raise_exception('only for experts') }}", r"only for experts \(line 1\); correct it, or name another"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ range(1000000000) | list }}", "Range too big"),
        (
            CHATML + "\n{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
            r"does not come to an end: more than 1,000,000 steps .*\(line 2\)",
        ),
        (CHATML + "{{ 'x' * 2000000000 }}", "does not come to an end: '\\*' makes a value of more than 50,000,000"),
        (
            CHATML + "{% set n = namespace(x='x') %}{% for a in range(99) %}{% set n.x = n.x + n.x %}{% endfor %}",
            r"does not come to an end: '\+' makes",
        ),
        *(
            (CHATML + f"\n{{{{ {endless} }}}}", r"does not come to an end: .* \(line 2\)")
            for endless in (
                "9 ** 999999999",
                "(9 ** 9999999) % 7",
                "'a' | indent(3000000000)",
                "'a' | center(3000000000)",
                "'a'.ljust(3000000000)",
                "'{:>3000000000}'.format(1)",
                "'{:{}}'.format(1, 3000000000)",
                "'%03000000000d' % 1",
                "'%*d' % (3000000000, 1)",
                "'%3000000000s' | format(1)",
                "('x' * 40000) | replace('x', 'x' * 40000)",
                "(range(99999) | list * 500) | tojson",
                "messages | tojson(indent=3000000000)",
            )
        ),
        (
            CHATML + "{% set n = namespace(x=7) %}{% for a in range(99) %}{% set n.x = n.x * n.x %}{% endfor %}",
            "does not come to an end: '\\*' makes a number",
        ),
        (
            CHATML + "{% set n = namespace(x='x') %}{% for a in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
            "does not come to an end: '~' makes",
        ),
        (CHATML + "\n{{ [1, 2] | random }}", "differently on each call: line 2 uses 'random'"),
        (CHATML + "{{ lipsum() }}", "differently on each call: line 1 uses 'lipsum'"),
        (
            CHATML + "\n\nwritten by {{ messages[0].items }}",
            r"writes '<built-in method items .*>', which is no text and reads differently on each call.* \(line 3\)",
        ),
        ("{{ messages | map(attribute='role') }}" + CHATML, "writes '<generator object .*put | list"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }};{% endfor %}", "the answer .* 2 times"),
        (
            "{% for m in messages %}{% for a in 'xy' %}{{ m['content'] }};{% endfor %}{% endfor %}",
            "the answer .* 2 times",
        ),
        (
            "{% for m in messages if m['role'] == 'assistant' %}{{ m['content'] }};{% endfor %}",
            "plain question with its answer, .* leaves out what the user says",
        ),
        (
            CHATML.replace("message['content']", "(message['content'] | truncate(40))"),
            "long question with its answer, .* does not show its content",
        ),
        (
            CHATML.replace("message['content']", "message['content'][:5000 if message['role'] == 'user' else none]"),
            "long question with its answer, .* leaves out what the user says",
        ),
        (
            "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
            "ignores assistant turns: it leaves the answer 'It is blue, mostly.' out",
        ),
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "no token, so a model could never learn to stop"),
        (
            "{% for m in messages %}{{ m['content'] }}{% generation %}{% endgeneration %}{% endfor %}",
            "no token, so a model could never learn to stop",
        ),
        (
            TAGGED.replace(" + '<end>' }}{% endgeneration %}", " }}\n{% endgeneration %}<end>"),
            r"tags of the chat template \(line 2\) leave out the end of the turn, '<end>'",
        ),
    ],
)
def test_templates_that_cannot_be_used_are_refused_before_any_row(source: str, says: str) -> None:
    with pytest.raises(TemplateError, match=says):
        check_template(ChatTemplate(source, bos="<s>", eos="</s>"))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (PLAIN_TEMPLATE, ["drops reasoning", "drops the schemas of tools", "does not write its call of 'look_up'"]),
        (MISTRAL, ["refuses system turns: roles must alternate", "drops reasoning", "drops the schemas", "roles must"]),
        (
            "{{ tools }}{% for m in messages if m['role'] != 'system' %}{{ m['role'] }}:{{ m['content'] }};"
            "{% endfor %}",
            ["must write 'assistant:' itself", "drops system turns", "drops reasoning", "does not write its call"],
        ),
        (
            "{{ tools }}" + THINKING.replace("<assistant>{% endif %}", "<assistant><think>\n{% endif %}"),
            [r"prompt of the chat template is '<assistant><think>\\n'"],
        ),
        ("{{ tools }}" + THINKING.replace(" and loop.last", ""), []),
    ],
)
def test_what_a_user_should_know_of_a_template(source: str, says: list[str]) -> None:
    template = ChatTemplate(source, bos="<s>", eos="</s>")
    found = check_template(template)
    assert len(found) == len(says), found
    for warning, words in zip(found, says, strict=True):
        assert re.search(words, warning), warning
    fewer = check_template(template, holds=())
    assert fewer == [each for each in found if "prompt" in each]


def test_asking_for_what_nobody_set_is_allowed() -> None:
    # As Mistral's template does, which sets the name only where there is a system message.
    unset = "{% if tools %}{% set greeting = 'T' %}{% endif %}{{ greeting }}{{ messages[0].name }}"
    text, _ = spans_of(unset + "{% if tools %}T{% endif %}{% if documents is defined %}D{% endif %}" + CHATML, ONE)
    assert text.startswith("<|im_start|>")


def test_json_is_written_as_in_transformers() -> None:
    source = "{{ messages[0] | tojson(ensure_ascii=true, indent=1) }}{{ messages[0] | tojson }}"
    text = ChatTemplate(source, bos=None, eos="").render(chat("é<")["messages"])
    assert text == '{\n "role": "user",\n "content": "\\u00e9<"\n}{"role": "user", "content": "é<"}'


ZEBRA = "{% if 'Zebra' in messages[0]['content'] %}"
DOUBLING = ZEBRA + "{% set n = namespace(x='xxxxxxxx') %}{% for a in range(40) %}{}{% endfor %}{% endif %}"


@pytest.mark.parametrize(
    "source",
    [
        ZEBRA + "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endif %}",
        ZEBRA + "{% for a in range(99999) %}{% for b in (messages * 999) | map('string') %}{% endfor %}{% endfor %}"
        "{% endif %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
        + ZEBRA
        + "{{ f(40) }}{% endif %}",
        ZEBRA + "{% for a in range(9) recursive %}{{ loop(range(9)) if loop.depth < 30 }}{% endfor %}{% endif %}",
        DOUBLING.replace("{}", "{% set n.x = n.x ~ n.x %}"),
        DOUBLING.replace("{}", "{% set n.x = n.x + n.x %}"),
        DOUBLING.replace("{}", "{% set n.x = [n.x, n.x] | join %}"),
        DOUBLING.replace("{}", "{% set n.x = ''.join([n.x, n.x]) %}"),
        DOUBLING.replace("{}", "{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}"),
    ],
)
def test_a_template_that_does_not_end_for_some_conversations_refuses_them(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_STEPS", 100_000)
    template = ChatTemplate(source + CHATML, bos=None, eos="</s>")
    check_template(template)
    assert template.trained(ONE["messages"])[0].text.startswith("<|im_start|>")
    with pytest.raises(RefusedConversation, match="it does not come to an end"):
        template.trained(chat("Zebra?", "Striped.")["messages"])


def test_counting_changes_nothing_that_a_template_writes() -> None:
    source = (
        "{% set a, b = 1, 'x' %}{% set c %}{{ b }}{% endset %}{% set d | upper %}{{ c ~ a ~ none }}{% endset %}"
        "{% for k, v in {'p': 1}.items() if v %}{{ loop.length ~ k ~ v }}{% else %}never{% endfor %}"
        "{% for m in nothing %}{% else %}none{% endfor %}{{ c ~ d }}"
        "{% for t in [[1, [2]], [3]] recursive %}{{ loop(t) if t is iterable else t }}{% endfor %}"
        "{% for m in messages | map(attribute='role') %}{{ m ~ loop.last ~ (loop.nextitem or '') }}{% endfor %}"
        "{{ '%02d|%s' % (a, b) }}{{ '{:>3}'.format(b) }}{{ 'a'.center(3) }}{{ 'b\nc' | indent(2) }}{{ 7 ** 2 % 5 }}"
    )
    text = ChatTemplate(source, bos=None, eos="").render(ONE["messages"])
    assert text == "1p1nonexX1NONE123userFalseassistantassistantTrue" + "01|x  x a b\n  c4"


def test_broken_conversations_are_refused() -> None:
    template = ChatTemplate(CHATML, bos=None, eos="</s>")
    with pytest.raises(RefusedConversation, match="it has no messages"):
        template.trained([])
    with pytest.raises(RefusedConversation, match="its tools or tool calls are no JSON"):
        template.trained(ONE["messages"], "[{")
    with pytest.raises(RefusedConversation, match="its tools or tool calls are no JSON"):
        template.trained([ONE["messages"][0], {"role": "assistant", "content": "", "tool_calls": "[{"}])


THOUGHT_APART = (
    "{% for m in messages %}<{{ m['role'] }}>{% set parts = m['content'].split('</think>') %}"
    "{% if m['role'] == 'assistant' %}<think>{{ parts[0].split('<think>')[-1] | trim if parts | length > 1 else '' }}"
    "</think>{{ parts[-1] | trim }}{% else %}{{ m['content'] }}{% endif %}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.mark.parametrize(
    ("answer", "trained"),
    [
        ("B.", "<think></think>B.<end>"),
        ("<think>\nA\n</think>\n\nB.", "<think>A</think>B.<end>"),
        ("A </think> B.", "<think>A</think>B.<end>"),
        ("A </think> LOST </think> B.", None),
        ("LOST <think> A </think> B.", None),
        ("<think>A</think>LOST</think>B.", None),
        ("<think>B.</think>", "<think>B.</think><end>"),
    ],
)
def test_all_parts_of_an_answer_with_thoughts_are_written(answer: str, trained: str | None) -> None:
    if trained is not None:
        assert spans_of(THOUGHT_APART, chat("Q", answer))[1] == [trained]
        return
    for texts in (["Q", answer], ["Q", answer, "Q", "A"]):
        with pytest.raises(RefusedConversation, match=r"at turn 2 .* does not show its content as it is"):
            spans_of(THOUGHT_APART, chat(*texts))


def test_an_answer_is_not_found_in_the_question() -> None:
    shouted = "{{ m['content'] if m['role'] == 'user' else m['content'] | upper + '<end>' }}"
    source = "{% for m in messages %}" + shouted + "{% endfor %}"
    assert spans_of(source, chat("yes", "YES"))[1] == ["YES<end>"]
    with pytest.raises(RefusedConversation, match="does not show its content"):
        spans_of(source, chat("yes", "yes"))


def test_what_the_user_says_is_not_cut() -> None:
    question = "x" * 7000
    cutting = CHATML.replace("message['content']", "message['content'][:6000 if message['role'] == 'user' else none]")
    template = ChatTemplate(cutting, bos=None, eos="</s>")
    check_template(template)
    with pytest.raises(RefusedConversation, match="at turn 2 the chat template leaves out what the user says"):
        template.trained(chat(question, "A")["messages"])
    for filtered in ("| e", "| tojson(ensure_ascii=true)", "| replace('\\n', ' ')"):
        written = CHATML.replace(
            "message['content']",
            f"(message['content'] {filtered} if message['role'] == 'user' else message['content'])",
        )
        assert spans_of(written, chat("<é>\n", "A"))[1] == ["A<|im_end|>\n"]


def test_a_template_that_forgets_earlier_turns_is_for_single_ones() -> None:
    template = ChatTemplate(CHATML.replace("in messages", "in messages[-2:]"), bos=None, eos="</s>")
    assert len(template.trained(ONE["messages"])) == 1
    with pytest.raises(RefusedConversation, match="at turn 4 the chat template leaves out what the user says"):
        template.trained(chat("One?", "A", "Two?", "B")["messages"])


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Lima"])
def test_the_time_is_the_same_in_all_time_zones(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        text = ChatTemplate("{{ strftime_now('%s %%s %%%s %H%Z') }}", bos=None, eos="").render(ONE["messages"])
    finally:
        monkeypatch.undo()
        time.tzset()
    assert text == "1721952000 %s %1721952000 00"


def test_the_environment_is_a_sandbox() -> None:
    template = ChatTemplate("{{ messages.append(1) }}", bos=None, eos="</s>")
    with pytest.raises(TemplateError, match="failed") as caught:
        template.render(ONE["messages"])
    assert isinstance(caught.value.__cause__, jinja2.exceptions.SecurityError)
