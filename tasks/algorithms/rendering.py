"""Conversations as text, by a Jinja chat template, with the character spans that a model is trained on."""

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from tasks.conversation import Message

PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '### Instruction:\\n' + message['content'] + '\\n\\n### Response:\\n' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% if not loop.last %}{{ '\\n\\n' }}{% endif %}"
    "{% endif %}{% endfor %}"
)
"""The field's instruction/response layout as a Jinja chat template (Alpaca's, without its preamble).

A user turn already ends in the response header, so the template gives the same text with and without a
generation prompt.
"""

Span = tuple[int, int]

_HALF_TOKEN = re.compile(r"<[^<>]*$|\[[^\[\]]*$")
"""What two different tokens after an answer have in common: the `<|` of `<|user|>` and `<|endoftext|>`."""


class TemplateError(Exception):
    """A chat template that cannot be used, or from which the trained spans cannot be read off."""


class ChatTemplate:
    """A compiled template with the special tokens it may name."""

    def __init__(self, source: str, *, bos: str | None, eos: str) -> None:
        self.source, self.bos, self.eos = source, bos, eos
        try:
            assigned = [each.name for each in _ENVIRONMENT.parse(source).find_all(nodes.Name) if each.ctx != "load"]
            unset = type("_Unset", (_Unset,), {"assigned": frozenset(assigned)})
            self._template = _ENVIRONMENT.overlay(undefined=unset).from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise TemplateError(f"the chat template is broken in line {error.lineno}: {error.message}") from None

    def render(self, messages: Sequence[Message], tools: str | None = None, *, generation_prompt: bool = False) -> str:
        """The text of a conversation, special tokens included; the tools are a JSON list of schemas."""
        try:
            return self._template.render(
                messages=[_as_templates_expect(message) for message in messages],
                tools=json.loads(tools) if tools else None,
                bos_token=self.bos or "",
                eos_token=self.eos,
                add_generation_prompt=generation_prompt,
            )
        except Exception as error:  # a template is a program: it can fail in any way
            raise TemplateError(f"the chat template failed: {str(error) or type(error).__name__}") from error

    def trained(self, messages: Sequence[Message], tools: str | None = None) -> tuple[str, list[Span]]:
        """The text, and the spans of every assistant turn: its content and its end-of-turn token.

        The spans are found by rendering the conversation up to each turn, and each is checked to hold the content.
        """
        text = self.render(messages, tools)
        spans = [self._span(text, messages, tools, i) for i, each in enumerate(messages) if is_trained(each)]
        return text, spans

    def _span(self, text: str, messages: Sequence[Message], tools: str | None, index: int) -> Span:
        before = self.render(messages[:index], tools, generation_prompt=True)
        if not text.startswith(before):
            raise TemplateError(
                f"the chat template writes the turns before turn {index + 1} differently once that turn is there; "
                "such templates are not supported yet"
            )
        after = self.render(messages[: index + 1], tools)
        limit = _common_prefix(text, after)
        content = messages[index]["content"].strip()
        begin = text.find(content, len(before), limit)
        if begin < 0 and after.find(content, len(before)) >= 0 and limit < len(after):
            raise TemplateError(
                f"the chat template writes turn {index + 1} differently once turns follow it; "
                "such templates are not supported yet"
            )
        if begin < 0:
            raise TemplateError(f"the chat template does not show the content of turn {index + 1} as it is")
        terminator = _HALF_TOKEN.sub("", text[begin + len(content) : limit]).rstrip()
        if not terminator:
            raise TemplateError("the chat template ends an answer with no token, so a model could never learn to stop")
        return len(before), begin + len(content) + len(terminator)


def is_trained(message: Message) -> bool:
    """True for an assistant's turn, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight") != 0


def _as_templates_expect(message: Message) -> dict[str, Any]:
    """A message under the names that chat templates look for, with what it has."""
    shown: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if message.get("reasoning"):
        shown["reasoning_content"] = shown["thinking"] = message["reasoning"]
    if calls := message.get("tool_calls"):
        shown["tool_calls"] = json.loads(calls)
    return shown | {name: message[name] for name in ("tool_call_id", "name") if message.get(name)}


def _common_prefix(left: str, right: str) -> int:
    if left.startswith(right):
        return len(right)
    return next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))


class _GenerationTag(Extension):
    """`{% generation %}` … `{% endgeneration %}`: marks that some templates carry; the text is the same without."""

    tags = {"generation"}  # noqa: RUF012 # jinja2 declares it so

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Unset(jinja2.Undefined):
    """A variable without a value. Templates ask whether there is one, and write nothing where there is none.

    But a name to write that the template never sets is misspelt.
    """

    __slots__ = ()
    assigned: frozenset[str] = frozenset()

    def __str__(self) -> str:
        if self._undefined_obj is missing and self._undefined_name not in self.assigned:
            self._fail_with_undefined_error()
        return ""


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=False, **options)


def _environment() -> jinja2.Environment:
    # The conventions that chat templates are written for; no HTML is made here, so nothing is escaped.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = lambda form: datetime.now(UTC).strftime(form)
    return environment


_ENVIRONMENT = _environment()
