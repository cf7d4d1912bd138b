"""A closer look at what an assistant's turn has trained, for turns that the compiled proof could not clear."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from tasks.algorithms.chat.answers import Trained
from tasks.algorithms.masks.loops import MOST_LITERAL_BYTES

_CHARACTERS_OF_CALLS = 3
"""How much longer than its stored JSON a template may write a tool call: escapes, indents, tags."""
_THOUGHT = re.compile("</?think>")
"""Templates of thinking models take an answer apart here, and write its parts anew."""
_HEADER = re.compile(
    rb"(?:^|[>\s\]#|<]|\xef\xbd\x9c)(?:assistant|user|human|system|model|response)(?:$|[\s:<>|]|\xef\xbd\x9c)|\[/inst\]",
    re.I,
)
"""What headers of turns say: the template writes them, so a model must never be taught to."""


class Look(NamedTuple):
    """What was found in the trained text of a turn."""

    fault: str | None = None
    unshown_call: str | None = None
    """A tool call that the template leaves out of the text."""


def looks_like_header(literal: bytes) -> bool:
    """Whether text that a template writes around an answer, and has trained, belongs to a turn's header."""
    return _HEADER.search(literal) is not None


def look(
    text: bytes,
    ranges: Sequence[tuple[int, int]],
    message: dict[str, Any],
    others: Sequence[str],
    choice: Trained,
    controls: Sequence[str] = (),
) -> Look:
    """What a turn's trained ranges hold, against the message: reasoning, content and calls, in order, and an end.

    `controls` are the added tokens that are trained, as the text spells them.
    """
    said = b"".join(text[begin:end] for begin, end in ranges).decode(errors="replace")
    whole = text.decode(errors="replace")
    before = text[: ranges[0][0]].decode(errors="replace")
    calls = json.loads(message["tool_calls"] or "[]")
    thought, content = (message["reasoning"] or "").strip(), message["content"].strip()
    place, slack, fault = _reasoning(said, before, thought, message["content"], others, choice)
    if fault:
        return Look(fault)
    marks = re.compile("|".join([*map(re.escape, controls), _THOUGHT.pattern]))
    ways = list(_whole(said[place:], content, marks)) or list(_in_parts(said[place:], message))
    if not ways:
        return Look(f"its answer {content!r:.80} is not what its labels cover: {said!r:.120}")
    # A letter of what stands before an answer may look like the answer.
    once = (each for each in ways if not _is_said_again(each, marks, bool(calls)))
    found = next(once, None)
    opening, _, tail = found or ways[0]
    if len(opening) > slack + (_CHARACTERS_OF_CALLS * len(message["tool_calls"] or "")):
        return Look(f"before its answer is trained: {opening!r:.120}")
    if not calls and not place and looks_like_header(opening.encode()):
        return Look(f"the header before its answer is trained: {opening!r:.120}")
    if found is None:
        return Look(f"its answer is trained twice: behind it stands {tail!r:.120}")
    if calls and choice.tool_calls:
        return _calls(said, whole, calls) or _tail(tail, slack + _CHARACTERS_OF_CALLS * len(message["tool_calls"]))
    return Look() if calls else _tail(tail, slack)


class _Found(NamedTuple):
    """An answer in what is trained, and what stands before and behind it."""

    opening: str
    answer: str
    tail: str


def _whole(said: str, content: str, marks: re.Pattern[str]) -> Iterator[_Found]:
    """All places of an answer but those inside of a mark."""
    inside = [range(*each.span()) for each in marks.finditer(said) if each[0] != content]
    at = said.find(content)
    while at >= 0:
        end = at + len(content)
        if not content or not any(at in each and end - 1 in each for each in inside):
            yield _Found(said[:at], content, said[end:])
        at = said.find(content, at + 1) if content and at < MOST_LITERAL_BYTES else -1


def _in_parts(said: str, message: dict[str, Any]) -> Iterator[_Found]:
    """An answer whose parts are written anew, white space apart: its last part, and the most before one of them."""
    tight, done, opening, last = "".join(said.split()), 0, "", ""
    parts = [message["content"]] if message["reasoning"] else _THOUGHT.split(message["content"])
    for part in filter(None, ("".join(each.split()) for each in parts)):
        at = tight.find(part, done)
        if at < 0:
            return
        opening = max(opening, tight[done:at], key=len)
        done, last = at + len(part), part
    yield _Found(opening, last, tight[done:])


def _reasoning(
    said: str, before: str, reasoning: str, content: str, others: Sequence[str], choice: Trained
) -> tuple[int, int, str | None]:
    """Where the reasoning ends in what is said, what may stand between that and the answer, and what is wrong."""
    if not reasoning:
        return 0, MOST_LITERAL_BYTES, None
    at = said.find(reasoning)
    within = reasoning in content
    if not choice.reasoning:
        wrong = at >= 0 and not within
        return 0, MOST_LITERAL_BYTES, "its reasoning is trained, which the recipe says not to do" if wrong else None
    if at >= 0:
        wrong = at > MOST_LITERAL_BYTES
        return (
            at + len(reasoning),
            MOST_LITERAL_BYTES,
            f"before its reasoning is trained: {said[:at]!r:.120}" if wrong else None,
        )
    if reasoning in before[-len(reasoning) - MOST_LITERAL_BYTES :] and not any(reasoning in other for other in others):
        return 0, 0, f"its reasoning stands in the text but is not trained: {reasoning!r:.120}"
    return 0, MOST_LITERAL_BYTES, None


def _is_said_again(found: _Found, marks: re.Pattern[str], has_calls: bool) -> bool:
    """Whether an answer stands once more right before or anywhere behind it: not in an added token, nor in a call."""
    opening, answer, tail = found
    before, behind = marks.split(opening)[-1].strip(), marks.sub(" ", tail).strip()
    if not re.search(r"\w", answer):  # the end of a turn may be of signs
        return bool(answer) and answer in (before, behind)
    if before.endswith(answer) or behind.startswith(answer):
        return True
    word = re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)")
    return not has_calls and bool(word.search(before) or word.search(behind))


def _tail(tail: str, most: int) -> Look:
    if not tail.strip():
        return Look("nothing that ends the turn is trained behind its answer, so a model could never learn to stop")
    if len(tail.encode()) > most:
        return Look(f"behind its answer is trained: {tail!r:.120}")
    if looks_like_header(tail.encode()):
        return Look(f"behind its answer a header is trained: {tail!r:.120}")
    return Look()


def _calls(said: str, whole: str, calls: Sequence[dict[str, Any]]) -> Look | None:
    for call in calls:
        name = str(call["function"]["name"])
        forms = {name, json.dumps(name)[1:-1], json.dumps(name, ensure_ascii=False)[1:-1]}
        if any(form in said for form in forms):
            continue
        if any(form in whole for form in forms) and len(calls) == 1 and not said.strip():
            return Look(f"its call of {name!r:.80} stands in the text but is not trained")
        return Look(unshown_call=name)
    return None
