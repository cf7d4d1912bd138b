"""Conversations as text, by a Jinja chat template, with the character spans that a model is trained on."""

import json
import re
from collections.abc import Sequence
from datetime import date
from functools import cached_property
from typing import Any

from tasks.algorithms.chat.answers import EVERYTHING, Conversation, Text, Trained
from tasks.algorithms.chat.sandbox import Drawn, Program, RefusedConversation, Shown, TemplateError, failure
from tasks.algorithms.chat.text_places import Span
from tasks.conversation import Message

__all__ = [
    "DEFAULT_DATE",
    "PLAIN_TEMPLATE",
    "ChatTemplate",
    "RefusedConversation",
    "Span",
    "TemplateError",
    "Text",
    "Trained",
    "as_templates_expect",
    "is_trained",
]

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

DEFAULT_DATE = date(2024, 7, 26)
"""Today, for templates that write the date: the one that Llama 3.1 writes where it is told none."""

_TOKEN = re.compile(r"\s*<[^<>\s]+>")
_QUESTION: Shown = {"role": "user", "content": "Which?"}
_ANSWER = "\ufdd0"
_CALL = {"id": "call00000", "type": "function", "function": {"name": "look", "arguments": {"place": "here"}}}
_RESULT: Shown = {"role": "tool", "content": "found", "tool_call_id": "call00000", "name": "look"}


class ChatTemplate:
    """A compiled template with the special tokens it may name."""

    def __init__(self, source: str, *, bos: str | None, eos: str, date: date = DEFAULT_DATE) -> None:
        self.source, self.bos, self.eos, self.date = source, bos, eos, date
        self.program = Program(source, date)

    def render(self, messages: Sequence[Message], tools: str | None = None, *, generation_prompt: bool = False) -> str:
        """The text of a conversation, special tokens included; the tools are a JSON list of schemas."""
        try:
            return self.draw(as_templates_expect(messages), _schemas(tools), generation_prompt).text
        except RefusedConversation as error:
            raise TemplateError(f"the chat template failed: {error}") from error.__cause__

    def trained(
        self, messages: Sequence[Message], tools: str | None = None, choice: Trained = EVERYTHING
    ) -> list[Text]:
        """The text, and in it every turn that is trained, with its end-of-turn token.

        More than one text where the template rewrites history, so that no one text holds every turn as it was written.
        Raises RefusedConversation where the template fails, or where what is trained cannot be told for certain.
        """
        if not messages:
            raise RefusedConversation("it has no messages")
        try:
            schemas, shown = _schemas(tools), as_templates_expect(messages)
        except json.JSONDecodeError as error:
            raise RefusedConversation(f"its tools or tool calls are no JSON: {error}") from error
        conversation = Conversation(
            lambda some, prompt: self.draw(some, schemas, prompt), shown, self._end, tagged=self.tagged
        )
        turns = [index for index, each in enumerate(messages) if is_trained(each) and _has_words(each, choice)]
        return conversation.texts(turns[-1:] if choice.turns == "last" else turns, choice)

    @cached_property
    def tagged(self) -> bool:
        """Whether the template marks what is trained with generation tags."""
        drawn = self._probe([_QUESTION, {"role": "assistant", "content": _ANSWER}])
        return drawn is not None and bool(drawn.tags)

    @cached_property
    def borrowed_ends(self) -> tuple[str, str]:
        """What ends an answer and what ends a turn of calls where the template itself writes nothing behind an answer.

        GLM's models stop by writing the header of the turn that comes next; so its first token is the end of theirs.
        """
        answer = {"role": "assistant", "content": _ANSWER}
        alone = self._probe([_QUESTION, answer])
        if alone is None or _ANSWER not in alone.text or alone.text.rpartition(_ANSWER)[2].strip():
            return "", ""
        after = self._next_token([_QUESTION, answer], _QUESTION)
        if not after:
            raise TemplateError(
                "the chat template ends an answer with no token, so a model could never learn to stop; write "
                "{{ eos_token }} behind the content of the assistant's turns"
            )
        calls = {"role": "assistant", "content": "", "tool_calls": [_CALL]}
        return after, self._next_token([_QUESTION, calls], _RESULT) or after

    def _next_token(self, messages: list[Shown], following: Shown) -> str:
        before, more = self._probe(messages), self._probe([*messages, following])
        if before is None or more is None or not more.text.startswith(before.text):
            return ""
        found = _TOKEN.match(more.text, len(before.text))
        return "" if found is None or found[0].strip() == self.bos else found[0]

    def _end(self, message: Shown) -> str:
        return self.borrowed_ends[bool(message.get("tool_calls"))]

    def _probe(self, messages: list[Shown]) -> Drawn | None:
        try:
            return self.draw(messages, None, False)
        except RefusedConversation:
            return None

    def draw(self, shown: Sequence[Shown], tools: Any, generation_prompt: bool) -> Drawn:
        """What the template writes; raises RefusedConversation where it fails, with its words."""
        variables = {"messages": list(shown), "tools": tools, "bos_token": self.bos or "", "eos_token": self.eos}
        try:
            return self.program.draw(variables | {"add_generation_prompt": generation_prompt})
        except RefusedConversation:
            raise
        except Exception as error:  # a template is a program: it can fail in any way
            raise RefusedConversation(failure(error)) from error


def is_trained(message: Message) -> bool:
    """True for an assistant's turn, unless its weight is 0."""
    return message["role"] == "assistant" and message.get("weight") != 0


def _has_words(message: Message, choice: Trained) -> bool:
    """False for a turn that holds nothing but what the recipe does not train."""
    if choice.tool_calls or not message.get("tool_calls"):
        return True
    return bool(message["content"].strip() or (choice.reasoning and message.get("reasoning")))


def _schemas(tools: str | None) -> Any:
    return json.loads(tools) if tools else None


def as_templates_expect(messages: Sequence[Message]) -> list[Shown]:
    """Messages under the names that chat templates look for, each with what it has."""
    return [_shown(message) for message in messages]


def _shown(message: Message) -> Shown:
    shown: Shown = {"role": message["role"], "content": message["content"]}
    if message.get("reasoning"):
        shown["reasoning_content"] = shown["thinking"] = message["reasoning"]
    if calls := message.get("tool_calls"):
        shown["tool_calls"] = json.loads(calls)
    return shown | {name: message[name] for name in ("tool_call_id", "name") if message.get(name)}
