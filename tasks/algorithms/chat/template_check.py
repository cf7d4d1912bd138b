"""What is wrong with a chat template, found on a few small conversations before any row is read."""

import json
import re
from collections.abc import Callable, Collection, Iterator
from typing import Literal, TypeVar

from jinja2 import nodes

from tasks.algorithms.chat.bounds import ENDLESS
from tasks.algorithms.chat.rendering import ChatTemplate, RefusedConversation, TemplateError, Text, as_templates_expect
from tasks.algorithms.chat.sandbox import environment
from tasks.algorithms.chat.template_guard import GuardedProgram
from tasks.conversation import Message

Held = Literal["system", "reasoning", "tools"]
Made = TypeVar("Made")

_RANDOM_FILTERS = frozenset(["random", "shuffle"])
_RANDOM_NAMES = frozenset(["lipsum"])
_OBJECT = re.compile(r"<[^<>\n]+ at 0x[0-9a-f]+>")
_UNDEFINED = re.compile(r"'\w+' is undefined")

_ANSWER = "It is blue, mostly."
_THOUGHT = "They ask for a colour; the common one will do."
_RULE = "Be brief and kind."
_PLAIN: list[Message] = [
    {"role": "user", "content": "Which colour has the sky?"},
    {"role": "assistant", "content": _ANSWER},
]
_SYSTEM: list[Message] = [{"role": "system", "content": _RULE}, *_PLAIN]
_TWO: list[Message] = [
    *_PLAIN,
    {"role": "user", "content": "And at night?"},
    {"role": "assistant", "content": "Then it is black."},
]
_LONG: list[Message] = [
    {"role": "user", "content": "\n\n".join(f"{n}. Which colour has the sky at noon?" for n in range(1, 140))},
    {"role": "assistant", "content": "\n\n".join(f"{n}. It is blue, mostly." for n in range(1, 140))},
]
"""Some templates cut what is long."""
_THINKING: list[Message] = [_PLAIN[0], {**_PLAIN[1], "reasoning": _THOUGHT}]
_THINKING_TWICE: list[Message] = [*_THINKING, _TWO[2], {**_TWO[3], "reasoning": "No sun, no colour."}]
_CALL = {"id": "call00001", "type": "function", "function": {"name": "look_up", "arguments": {"place": "zenith"}}}
_CALLING: list[Message] = [
    _PLAIN[0],
    {"role": "assistant", "content": "", "tool_calls": json.dumps([_CALL])},
    {"role": "tool", "content": "blue", "tool_call_id": "call00001", "name": "look_up"},
    _PLAIN[1],
]
_PLACE = {"type": "object", "properties": {"place": {"type": "string", "description": "Where to look."}}}
_TOOLS = json.dumps(
    [{"type": "function", "function": {"name": "look_up", "description": "Sees a colour.", "parameters": _PLACE}}]
)
_SHAPES: list[tuple[list[Message], str | None]] = [
    (_PLAIN, None),
    (_TWO, None),
    (_SYSTEM, None),
    (_THINKING_TWICE, None),
    (_CALLING, _TOOLS),
]


def check_template(template: ChatTemplate, holds: Collection[Held] = ("system", "reasoning", "tools")) -> list[str]:
    """What a user should know of the template, as far as it concerns what the conversations hold.

    Raises TemplateError where the template cannot be used at all.
    """
    _refuse_chance(template.source)
    _refuse_endless(template)
    try:
        for messages, tools in _SHAPES:
            _refuse_fickle(template, messages, tools)
        _refuse_unlearnable(template)
        found = list(_on_prompts(template))
    except RefusedConversation as error:
        raise _failing(error) from error
    found += _on_system_turns(template) if "system" in holds else []
    found += _on_reasoning(template) if "reasoning" in holds else []
    found += _on_tools(template) if "tools" in holds else []
    return found


def _failing(error: Exception) -> TemplateError:
    return TemplateError(
        f"the chat template fails on a plain question with its answer: {error}; correct it, or name another in "
        "tokenization.chat_template"
    )


def _refuse_chance(source: str) -> None:
    tree = environment().parse(source)
    drawn = [(each.lineno, each.name) for each in tree.find_all(nodes.Filter) if each.name in _RANDOM_FILTERS]
    drawn += [(each.lineno, each.name) for each in tree.find_all(nodes.Name) if each.name in _RANDOM_NAMES]
    for line, name in sorted(drawn):
        raise TemplateError(
            f"the chat template renders differently on each call: line {line} uses {name!r}; write fixed text there"
        )


def _refuse_endless(template: ChatTemplate) -> None:
    """Render in an environment that counts."""
    watched = ChatTemplate(template.source, bos=template.bos, eos=template.eos, date=template.date)
    watched.program = GuardedProgram(template.source, template.date)
    for messages, tools in _SHAPES:
        try:
            watched.draw(as_templates_expect(messages), json.loads(tools) if tools else None, False)
        except RefusedConversation as error:
            if messages is _PLAIN:
                raise _failing(error) from error
            if _UNDEFINED.match(str(error)) or ENDLESS in str(error):
                raise TemplateError(f"the chat template fails: {error}; correct that line") from error


def _refuse_fickle(template: ChatTemplate, messages: list[Message], tools: str | None) -> None:
    # All are alive at once, so that what shows an object's address differs.
    given = [(as_templates_expect(messages), json.loads(tools) if tools else None) for _ in range(3)]
    try:
        first, *others = [template.draw(*each, generation_prompt=True).text for each in given]
    except RefusedConversation:
        return
    if shown := _OBJECT.search(first):
        before = first[: shown.start()]
        raise TemplateError(
            f"the chat template writes {shown[0]!r}, which is no text and reads differently on each call, behind "
            f"{before[-40:]!r}{_line_of(template.source, before)}; "
            "call what is a function, and put | list or | join behind map and select"
        )
    for other in others:
        if other != first:
            place = next(place for place, (a, b) in enumerate(zip(first, other, strict=False)) if a != b)
            line = _line_of(template.source, first[:place])
            raise TemplateError(
                "the chat template renders differently on each call: once "
                f"{first[place : place + 20]!r}, once {other[place : place + 20]!r}, behind "
                f"{first[max(0, place - 40) : place]!r}{line}; write fixed text there"
            )


def _line_of(source: str, written: str) -> str:
    """The line that holds the last eight characters or more that were written as they stand in the source, once."""
    for end in range(len(written), 7, -1):
        if source.count(words := written[end - 8 : end]) == 1:
            return f" (line {source.count(chr(10), 0, source.index(words)) + 1})"
    return ""


def _refuse_unlearnable(template: ChatTemplate) -> None:
    text = template.render(_PLAIN)
    if _ANSWER not in text:
        raise TemplateError(
            f"the chat template ignores assistant turns: it leaves the answer {_ANSWER!r} out of {text!r:.120}; "
            "write message['content'] for the role 'assistant' (templates that expect typed parts are not supported)"
        )
    (made,) = _told(template, _PLAIN, "plain")
    _told(template, _LONG, "long")
    _refuse_repeated(_attempt(template.trained, _TWO, None) or [], _TWO)
    spans = [(begin, end) for begin, end, _ in made.spans]
    answer = made.text.find(_ANSWER, spans[0][0]) + len(_ANSWER)
    behind = "".join(made.text[max(begin, answer) : end] for begin, end in spans if end > answer)
    if not behind.strip():
        raise TemplateError(
            f"the generation tags of the chat template{_tag_line(template.source)} leave out the end of the turn, "
            f"{made.text[answer:].strip()!r:.40}, so a model would never learn to stop; move "
            "{% endgeneration %} behind it"
        )


def _told(template: ChatTemplate, messages: list[Message], kind: str) -> list[Text]:
    try:
        texts = template.trained(messages)
    except RefusedConversation as error:
        raise TemplateError(f"of a {kind} question with its answer, {error}; correct the chat template") from error
    _refuse_repeated(texts, messages)
    return texts


def _refuse_repeated(texts: list[Text], messages: list[Message]) -> None:
    for said in (each["content"] for each in messages if each["role"] == "assistant"):
        times, text = max(((each.text.count(said), each.text) for each in texts), default=(0, ""))
        if times > 1:
            raise TemplateError(
                f"the chat template writes the answer {said!r:.40} {times} times: {text!r:.160}; write it once"
            )


def _tag_line(source: str) -> str:
    found = re.search(r"\{%[-+]?\s*endgeneration", source)
    return f" (line {source.count(chr(10), 0, found.start()) + 1})" if found else ""


def _on_prompts(template: ChatTemplate) -> Iterator[str]:
    prompt, asked = (template.render(_PLAIN[:1], generation_prompt=each) for each in (True, False))
    text = template.render(_PLAIN)
    opened = prompt[len(asked) :] if prompt.startswith(asked) else ""
    if not text.startswith(prompt):
        yield (
            f"the generation prompt of the chat template is {opened!r}, but an answer without reasoning begins "
            "otherwise; what both share is given to the model, and the rest of the answer is trained"
        )
    begin = template.trained(_PLAIN)[0].spans[0][0]
    header = text[begin : text.find(_ANSWER, begin)].strip()
    if prompt == asked and header:
        yield (
            f"the chat template has no generation prompt, so a model must write {header!r} itself, and it is "
            "trained; write it where add_generation_prompt is true"
        )
    if template.borrowed_ends[0]:
        yield (
            f"the chat template ends an answer with no token of its own; the one that opens the next turn, "
            f"{template.borrowed_ends[0]!r}, is trained as its end"
        )


def _on_system_turns(template: ChatTemplate) -> Iterator[str]:
    text = _attempt(template.render, _SYSTEM, None)
    if text is None:
        yield f"the chat template refuses system turns: {_words(template, _SYSTEM)}; rows with one are dropped"
    elif _RULE not in text:
        yield "the chat template drops system turns; their rows are trained without"


def _on_reasoning(template: ChatTemplate) -> Iterator[str]:
    texts = _attempt(template.trained, _THINKING, None)
    if texts is not None and not any(_THOUGHT in each.text for each in texts):
        yield "the chat template drops reasoning; answers are trained without it"


def _on_tools(template: ChatTemplate) -> Iterator[str]:
    text = _attempt(template.render, _CALLING[:1], _TOOLS)
    if text is not None and "look_up" not in text:
        yield "the chat template drops the schemas of tools; calls are trained without them"
    if _attempt(template.trained, _CALLING, _TOOLS) is None:
        yield f"the chat template cannot write tool calls: {_words(template, _CALLING, _TOOLS)}; such rows are dropped"


def _attempt(
    made: Callable[[list[Message], str | None], Made], messages: list[Message], tools: str | None
) -> Made | None:
    try:
        return made(messages, tools)
    except (RefusedConversation, TemplateError):
        return None


def _words(template: ChatTemplate, messages: list[Message], tools: str | None = None) -> str:
    try:
        template.trained(messages, tools)
    except RefusedConversation as error:
        return str(error)
    return ""
