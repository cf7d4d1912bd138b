"""Conversations whose control tokens are hidden from the template: what must stay text is rendered as something else.

Each token that stands in a message, and each end of a message that could grow to a token at the template's text, is
rendered as one character that nobody uses, and put back afterwards. So the template cannot act on it, and its place in
the text is known.
"""

import bisect
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.algorithms.chat.control_tokens import ControlTokens, ControlTokensOfRoles
from tasks.algorithms.chat.rendered_rows import CharacterRange, TextRanges
from tasks.conversation import Message

_TEXTS = ("content", "reasoning", "tool_call_id", "name")
_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE), range(0x100000, 0x10FFFE))


@dataclass(frozen=True)
class _Hidden:
    """What a stand-in stands for: a token, or a piece of text that may become part of one of `tokens`."""

    text: str
    tokens: ControlTokens | None


@dataclass
class StandIns:
    """The stand-ins of one conversation."""

    unused: Iterator[str]
    spelled: bool
    """Whether there may be whole tokens."""
    of: dict[_Hidden, str] = field(default_factory=dict)

    def hide(self, text: str, tokens: ControlTokens) -> str:
        """A text of a message without its control tokens, and without what might become one."""
        if self.spelled:
            text = tokens.pattern.sub(lambda match: self._stand_in(_Hidden(match[0], None)), text)
        inner = text.strip()
        if not inner:
            return text
        opened, closed = tokens.opened_by(inner), tokens.closed_by(inner)
        if opened:
            end = len(text.rstrip())
            text = text[: end - opened] + self._stand_in(_Hidden(text[end - opened : end], tokens)) + text[end:]
        if closed and opened < len(inner):
            closed = min(closed, len(inner) - opened)
            begin = len(text) - len(text.lstrip())
            hidden = self._stand_in(_Hidden(text[begin : begin + closed], tokens))
            text = text[:begin] + hidden + text[begin + closed :]
        return text

    def _stand_in(self, hidden: _Hidden) -> str:
        if hidden not in self.of:
            self.of[hidden] = next(self.unused)
        return self.of[hidden]


def hidden(
    messages: Sequence[Message], tools: str | None, tokens: ControlTokensOfRoles, template: str, *, spelled: bool
) -> tuple[list[Message], str | None, StandIns]:
    """The conversation with stand-ins; without any where nothing needs to be hidden."""
    stand_ins = StandIns(_unused(messages, tools, template), spelled)
    shown = [_hidden_message(message, stand_ins, tokens.of(message["role"])) for message in messages]
    schemas = _hidden_json(tools, stand_ins, tokens.assistant) if tools else tools
    return shown, schemas, stand_ins


def put_back(text: str, trained: Sequence[tuple[int, int, int]], stand_ins: StandIns) -> TextRanges:
    """The text as it is meant, and the ranges that must stay text."""
    pieces = {character: hidden for hidden, character in stand_ins.of.items() if hidden.tokens is not None}
    text, edges, (trained,) = _replaced(text, pieces, trained)
    grown = sorted(_grown(text, [(*edge, pieces[character]) for edge, character in edges]))
    whole = {character: hidden for hidden, character in stand_ins.of.items() if hidden.tokens is None}
    text, places, (trained, moved) = _replaced(text, whole, trained, [(*each, 0) for each in grown])
    plain = sorted([*(place for place, _ in places), *((begin, end) for begin, end, _ in moved)])
    return TextRanges(text, trained, plain)


def _grown(text: str, edges: Sequence[tuple[int, int, _Hidden]]) -> set[CharacterRange]:
    """The parts of message edges that became part of a control token."""
    found = set()
    for tokens in {hidden.tokens for *_, hidden in edges if hidden.tokens is not None}:
        mine = [(begin, end) for begin, end, hidden in edges if hidden.tokens is tokens]
        for match in tokens.pattern.finditer(text):
            overlaps = [(max(begin, match.start()), min(end, match.end())) for begin, end in mine]
            found |= {overlap for overlap in overlaps if overlap[0] < overlap[1]}
    return found


Ranged = Sequence[tuple[int, int, int]]


def _replaced(
    text: str, hidden: Mapping[str, _Hidden], *ranges: Ranged
) -> tuple[str, list[tuple[CharacterRange, str]], list[Ranged]]:
    """The text with these stand-ins put back, where they stand now, and the ranges moved with the text."""
    if not hidden:
        return text, [], list(ranges)
    begins, grown, parts, put, reached = list[int](), [0], list[str](), list[tuple[CharacterRange, str]](), 0
    for match in _spelled(hidden).finditer(text):
        character = match[0] if match[0] in hidden else json.loads(f'"{match[0]}"')
        place, back = match.start() + grown[-1], hidden[character].text
        put.append(((place, place + len(back)), character))
        parts += [text[reached : match.start()], back]
        begins.append(match.start())
        grown.append(grown[-1] + len(back) - len(match[0]))
        reached = match.end()

    def moved(place: int) -> int:
        return place + grown[bisect.bisect_left(begins, place)]

    text = "".join([*parts, text[reached:]])
    return text, put, [[(moved(begin), moved(end), turn) for begin, end, turn in each] for each in ranges]


def _spelled(characters: Iterable[str]) -> re.Pattern[str]:
    """The characters, also as JSON may write them."""
    return re.compile("|".join(form for each in characters for form in (each, re.escape(json.dumps(each)[1:-1]))))


def _hidden_message(message: Message, stand_ins: StandIns, tokens: ControlTokens) -> Message:
    changed: dict[str, Any] = {}
    for name in _TEXTS:
        if text := message.get(name):
            changed[name] = stand_ins.hide(str(text), tokens)
    if calls := message.get("tool_calls"):
        changed["tool_calls"] = _hidden_json(calls, stand_ins, tokens)
    return {**message, **changed}  # type: ignore[typeddict-item]


def _hidden_json(text: str, stand_ins: StandIns, tokens: ControlTokens) -> str:
    def changed(value: Any) -> Any:
        if isinstance(value, str):
            return stand_ins.hide(value, tokens)
        if isinstance(value, list):
            return [changed(each) for each in value]
        if isinstance(value, dict):
            return {changed(name): changed(each) for name, each in value.items()}
        return value

    known = len(stand_ins.of)
    made = json.dumps(changed(json.loads(text)), ensure_ascii=False)
    return text if len(stand_ins.of) == known else made


def _unused(messages: Sequence[Message], tools: str | None, template: str) -> Iterator[str]:
    texts = [template, tools or "", *(str(value) for message in messages for value in message.values() if value)]
    used = "".join(texts)
    # JSON may spell a character by its number; then it counts as used, and so do a few others.
    numbers = set(re.findall(r"\\u([0-9a-f]{4})", used.lower()))
    for code in itertools.chain(*_PRIVATE_USE):
        if chr(code) not in used and numbers.isdisjoint(re.findall(r"\\u(....)", json.dumps(chr(code)))):
            yield chr(code)
