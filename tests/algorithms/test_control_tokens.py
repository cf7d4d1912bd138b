"""Control tokens in messages: they stay text, in whatever way a conversation is rendered."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tests.algorithms.rendered_batches import batch, plain_of, ranges, rows_of, turns
from tests.stages.making import CHATML

SHIPPED = Path(trl.__file__).parent / "chat_templates"
TRIMMED = CHATML.replace("message['content'] +", "message['content'] | trim +")
SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|im_end|>!", "<a<a>", "<|>|<|>")


def guarded(source: str, special: Sequence[str] = SPECIAL, added: Sequence[str] = (), *, fast: bool = True) -> Renderer:
    made = Renderer(ChatTemplate(source, bos="<s>", eos="</s>"), Trained(), special=special, added=added)
    if not fast:
        made._learner = None
    return made


SPELLING = st.lists(st.sampled_from([*SPECIAL, *"<|>!a", "im_end", "end|>", "<|im_", " ", "s>", "</"]), max_size=5).map(
    "".join
)
TAIL = CHATML.replace("+ '<|im_end|>' + '\\n'", "+ 'im_end|>' + '<|im_end|>' + '\\n'")
HEAD = CHATML.replace("message['content'] +", "'<|im_' + message['content'] +")


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("source", [CHATML, TRIMMED, HEAD, TAIL])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(SPELLING, SPELLING), min_size=16, max_size=20))
def test_no_control_token_comes_from_a_message(fast: bool, source: str, rows: list[tuple[str, str]]) -> None:
    """What is left of a text outside of its plain ranges holds the template's own tokens only."""
    mine = guarded(source, fast=fast)
    conversations = [turns(*row) for row in rows]
    rendered = mine(batch(conversations))
    pattern = re.compile("|".join(map(re.escape, sorted(SPECIAL, key=len, reverse=True))))
    own = ["<|im_start|>", "<|im_end|>"] * 2
    places = ranges(rendered.plain.offsets, rendered.plain.begins, rendered.plain.ends)
    texts = dict(zip(rendered.rows.tolist(), zip(rendered.texts.to_pylist(), places, strict=True), strict=True))
    assert sorted([*texts, *rendered.refused]) == list(range(len(rows)))
    for row, (text, plain) in texts.items():
        assert text == mine._template.render(conversations[row])  # type: ignore[arg-type]
        edges = [0, *(edge for each in plain for edge in each), len(text)]
        assert edges == sorted(edges)
        outside = [text[begin:end] for begin, end in zip(edges[::2], edges[1::2], strict=True)]
        assert [token for part in outside for token in pattern.findall(part)] == own


@pytest.mark.parametrize(
    ("question", "answer", "plain"),
    [
        ("Hi", "Hello.", []),
        ("a </s> b", "é <|im_end|>\n<|im_start|>user", ["</s>", "<|im_end|>", "<|im_start|>"]),
        ("<|im_end|>!", "<|im_end|>?", ["<|im_end|>!", "<|im_end|>"]),
        ("<a<a>", "x", ["<a<a>"]),
        ("<|>|<|>|<|>", "x", ["<|>|<|>"]),
        ("<|im_", "end|>", []),
    ],
)
def test_control_tokens_in_messages_stay_text(question: str, answer: str, plain: list[str]) -> None:
    mine = guarded(CHATML)
    conversations = [turns(question, answer)] * 20
    rendered = mine(batch(conversations))
    assert plain_of(rendered) == [plain] * 20
    assert rendered.texts.to_pylist() == [mine._template.render(conversations[0])] * 20  # type: ignore[arg-type]
    for text, (_, _, spans) in zip(rendered.texts.to_pylist(), rows_of(rendered), strict=True):
        assert [text.encode()[begin:end].decode() for begin, end, _ in spans] == [answer + "<|im_end|>\n"]


@pytest.mark.parametrize(
    ("source", "question", "plain"),
    [
        (HEAD, "end|> there", ["end|>"]),
        (HEAD, "start|> there", ["start|>"]),
        (TAIL, "see <|", ["<|"]),
        (CHATML, "<|im_end|>!", ["<|im_end|>!"]),
        (CHATML.replace("'\\n'", "'!'"), "a", []),  # the template's own longer token
    ],
)
def test_a_token_that_comes_about_at_the_border_of_a_message_stays_text(
    source: str, question: str, plain: list[str]
) -> None:
    rendered = guarded(source)(batch([turns("q", "a"), *[turns(question, "a")] * 18, turns("q", "a")]))
    assert plain_of(rendered) == [[], *[plain] * 18, []]


def test_a_template_cannot_act_on_control_tokens_in_messages() -> None:
    source = CHATML.replace(
        "{{ '<|im_start|>'",
        "{% if '</s>' in message['content'] %}{{ raise_exception('no') }}{% endif %}{{ '<|im_start|>'",
        1,
    )
    rendered = guarded(source)(batch([turns("a</s>", "b")] * 20))
    assert rendered.refused == {}
    assert plain_of(rendered) == [["</s>"]] * 20


def test_added_tokens_are_the_assistants_own() -> None:
    added = ["<think>", "</think>", "<tool_response>", "<unheard>"]
    mine = guarded((SHIPPED / "qwen3_training.jinja").read_text(), added=added)
    conversations = [
        [
            {"role": "system", "content": "<think>"},
            {"role": "user", "content": "</think> <unheard>"},
            {"role": "assistant", "content": "<think>\nso\n</think>\n\nyes"},
            {"role": "tool", "content": "<tool_response>", "name": "f", "tool_call_id": "</think>"},
            {"role": "assistant", "content": "x", "reasoning": "<think></s>"},
        ]
    ] * 18
    rendered = mine(batch(conversations))
    assert plain_of(rendered) == [["<think>", "</think>", "<tool_response>", "</s>"]] * 18


@pytest.mark.parametrize(
    "escape", [lambda text: text, lambda text: text.replace("<", "\\u003c"), lambda text: text.replace("/", "\\/")]
)
def test_control_tokens_in_tools_and_calls_stay_text(escape: Any) -> None:
    calls = escape(
        json.dumps([{"type": "function", "function": {"name": "f", "arguments": {"x</s>": ["</s>", 'a"</s>']}}}])
    )
    tools = escape(
        json.dumps([{"type": "function", "function": {"name": "f", "description": "<s> é </s>", "parameters": {}}}])
    )
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "", "tool_calls": calls}]
    mine = guarded((SHIPPED / "qwen2_5.jinja").read_text())
    rendered = mine(batch([messages, turns("q", "a")], [tools, None]))
    assert plain_of(rendered) == [["<s>", "</s>", "</s>", "</s>", "</s>"], []]
    assert rendered.texts.to_pylist()[0] == mine._template.render(messages, tools)  # type: ignore[arg-type]


def test_stand_ins_are_put_back_where_the_template_writes_ascii_json() -> None:
    content = "{{ m.content | tojson(ensure_ascii=true) if m.role == 'user' else m.content }}"
    mine = guarded("{% for m in messages %}{{ '<' + m.role + '>' }}" + content + "{{ eos_token }}{% endfor %}")
    rendered = mine(batch([turns("é</s>\ue000", "\ue000</s>")]))
    assert plain_of(rendered) == [["</s>", "</s>"]]
    assert rendered.texts.to_pylist() == ['<user>"\\u00e9</s>\\ue000"</s><assistant>\ue000</s></s>']
