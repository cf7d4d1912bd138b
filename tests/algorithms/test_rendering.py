"""Chat templates: what they write, what of it is trained, and which ones cannot be used."""

from pathlib import Path
from typing import Any

import jinja2
import pytest

from tasks.algorithms.masking import NOT_TRAINED, labels
from tasks.algorithms.rendering import PLAIN_TEMPLATE, ChatTemplate, TemplateError
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


def trained(source: str, row: dict[str, Any], bos: str | None = "<s>") -> tuple[str, list[str]]:
    text, spans = ChatTemplate(source, bos=bos, eos="</s>").trained(row["messages"])
    return text, [text[begin:end] for begin, end in spans]


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
            ["Hello.<|im_end|>"],
        ),
        (
            CHATML,
            TWO,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n" * 2,
            ["Hello.<|im_end|>"] * 2,
        ),
        (LLAMA2, TWO, "<s>[INST] Hi [/INST] Hello. </s>" * 2, [" Hello. </s>"] * 2),
        (LLAMA2, SYSTEM, "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello. </s>", [" Hello. </s>"]),
        (MISTRAL, TWO, "<s>[INST] Hi [/INST]Hello.</s>[INST] Hi [/INST]Hello.</s>", ["Hello.</s>"] * 2),
        (
            CHATML.replace("{% endfor %}", "{% generation %}{% endgeneration %}{% endfor %}", 1),
            ONE,
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n",
            ["Hello.<|im_end|>"],
        ),
    ],
)
def test_what_is_written_and_trained(source: str, row: dict[str, Any], text: str, spans: list[str]) -> None:
    assert trained(source, row) == (text, spans)


@pytest.mark.parametrize(
    "answer", ["Hi", "Hello [/INST]", "### Response:\n", "<|im_end|>", "a\n\n### Instruction:\nb", "é😀漢", ""]
)
@pytest.mark.parametrize("source", [PLAIN_TEMPLATE, CHATML, MISTRAL])
def test_answers_that_look_like_the_template(source: str, answer: str) -> None:
    _, spans = trained(source, chat("Hi", answer, "Hi", "Hi"))
    end = "<|im_end|>" if source is CHATML else "</s>"
    assert spans == [f"{answer}{end}", f"Hi{end}"]


def test_a_tokenizer_without_bos_writes_none() -> None:
    text, _ = trained("{{ bos_token }}" + CHATML, ONE, bos=None)
    assert text.startswith("<|im_start|>user")


def test_the_end_of_turn_is_not_confused_with_the_beginning_of_another_token() -> None:
    source = CHATML + "{{ '' if add_generation_prompt else '<|endoftext|>' }}"
    _, spans = trained(source, TWO)
    assert spans == ["Hello.<|im_end|>", "Hello.<|im_end|>\n<|endoftext|>"]


@pytest.mark.parametrize(
    ("source", "row", "says"),
    [
        ("{% for message in messages %}", ONE, "broken in line 1: Unexpected end of template"),
        ("{{ messages | shout }}", ONE, "broken in line 1: No filter named 'shout'"),
        ("{{ greeting }}" + CHATML, ONE, "failed: 'greeting' is undefined"),
        ("{{ messages[9]['content'] }}", ONE, "failed"),
        ("{{ messages[0].nothing.at_all }}", ONE, "failed"),
        ("{{ 1 / 0 }}", ONE, "failed: division by zero"),
        ("{{ range(1000000000) | list }}", ONE, "failed"),
        ("{{ ''.__class__.__mro__ }}", ONE, "failed"),
        ("{{ raise_exception('only for experts') }}", ONE, "failed: only for experts"),
        (MISTRAL, SYSTEM, "roles must alternate"),
        (
            "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}",
            ONE,
            "does not show the content of turn 2",
        ),
        ("{% for m in messages %}{{ m['content'] | upper }};{% endfor %}", ONE, "does not show the content of turn 2"),
        (
            "{% for m in messages %}{{ m['content'] }}{% endfor %}",
            ONE,
            "no token, so a model could never learn to stop",
        ),
        (
            "{{ messages | length }}{% for m in messages %}{{ m['content'] }};{% endfor %}",
            ONE,
            "writes the turns before turn 2 differently",
        ),
        (
            "{% for m in messages %}{{ m['role'] }}:"
            "{% if m['role'] == 'assistant' and loop.last %}<think></think>{% endif %}"
            "{{ m['content'] }};{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}",
            TWO,
            "writes turn 2 differently once turns follow it",
        ),
    ],
)
def test_templates_that_cannot_be_used_say_why(source: str, row: dict[str, Any], says: str) -> None:
    with pytest.raises(TemplateError, match=says.replace("(", r"\(")):
        trained(source, row)


def test_asking_for_what_nobody_set_is_allowed() -> None:
    # As Mistral's template does, which sets the name only where there is a system message.
    unset = "{% if tools %}{% set greeting = 'T' %}{% endif %}{{ greeting }}{{ messages[0].name }}"
    text, _ = trained(unset + "{% if tools %}T{% endif %}{% if documents is defined %}D{% endif %}" + CHATML, ONE)
    assert text.startswith("<|im_start|>")


@pytest.mark.parametrize(
    ("offsets", "spans", "expected"),
    [
        ([(0, 2), (2, 4), (4, 6)], [(2, 4)], [1]),
        ([(0, 3), (3, 6)], [(2, 4)], [0, 1]),  # a token across an edge is trained
        ([(0, 2), (2, 2), (2, 4)], [(2, 4)], [2]),  # a token without characters never is
        ([(0, 2), (2, 3), (2, 3), (2, 3), (3, 4)], [(2, 3)], [1, 2, 3]),  # the bytes of one character
        ([(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 1), (2, 3)], [0, 2]),
        ([(0, 1)], [], []),
        ([], [(0, 1)], []),
    ],
)
def test_labels_from_offsets(offsets: list[tuple[int, int]], spans: list[tuple[int, int]], expected: list[int]) -> None:
    ids = list(range(10, 10 + len(offsets)))
    made = labels(ids, offsets, spans)
    assert [index for index, label in enumerate(made) if label != NOT_TRAINED] == expected
    assert all(label in (NOT_TRAINED, token) for label, token in zip(made, ids, strict=True))


def test_masks_agree_with_those_of_trl_templates() -> None:
    """Wherever ours can be read off, it is theirs."""
    import trl
    from transformers.utils.chat_template_utils import render_jinja_template

    checked = 0
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*_training.jinja")):
        source = path.read_text()
        for row in (ONE, TWO):
            try:
                text, spans = ChatTemplate(source, bos="<s>", eos="</s>").trained(row["messages"])
            except TemplateError:
                continue
            tokens = {"bos_token": "<s>", "eos_token": "</s>"}
            (theirs,), (marked,) = render_jinja_template(
                [row["messages"]], chat_template=source, return_assistant_tokens_mask=True, **tokens
            )
            assert text == theirs, path.name
            ours = {i for begin, end in spans for i in range(begin, end) if not text[i].isspace()}
            wanted = {i for begin, end in marked for i in range(begin, end) if not text[i].isspace()}
            assert ours <= wanted, path.name
            # Theirs also hold what the generation prompt gives, in some templates.
            rest = "".join(text[i] for i in sorted(wanted - ours))
            assert rest == "" or rest.startswith(("<|start|>assistant", "<think>")), path.name
            checked += rest == ""
    assert checked >= 30


def test_the_environment_is_a_sandbox() -> None:
    template = ChatTemplate("{{ messages.append(1) }}", bos=None, eos="</s>")
    with pytest.raises(TemplateError, match="failed") as caught:
        template.render(ONE["messages"])
    assert isinstance(caught.value.__cause__, jinja2.exceptions.SecurityError)
