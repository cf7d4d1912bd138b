"""A closer look at what an assistant's turn has trained, for turns that the compiled proof could not clear."""

import json
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from tasks.algorithms.chat.answers import Trained
from tasks.algorithms.masks.loops import MOST_LITERAL_BYTES

_CHARACTERS_OF_CALLS = 3
"""How much longer than its stored JSON a template may write a tool call: escapes, indents, tags."""
_THOUGHT, _THOUGHT_END = "<think>", "</think>"
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
    """Whether text that a template writes before an answer, and has trained, belongs to a turn's header."""
    return _HEADER.search(literal) is not None


def look(
    text: bytes, ranges: Sequence[tuple[int, int]], message: dict[str, Any], others: Sequence[str], choice: Trained
) -> Look:
    """What a turn's trained ranges hold, against the message: reasoning, content and calls, in order, and an end."""
    said = b"".join(text[begin:end] for begin, end in ranges).decode(errors="replace")
    whole = text.decode(errors="replace")
    before = text[: ranges[0][0]].decode(errors="replace")
    calls = json.loads(message["tool_calls"] or "[]")
    thought, content = _parts(message)
    place, slack, fault = _reasoning(said, before, thought, message["content"], others, choice)
    if fault:
        return Look(fault)
    at = said.find(content, place)
    if at < 0:
        return _loosely(said, content)
    opening = said[place:at]
    if len(opening) > slack + (_CHARACTERS_OF_CALLS * len(message["tool_calls"] or "")):
        return Look(f"before its answer is trained: {opening!r:.120}")
    if not calls and not place and looks_like_header(opening.encode()):
        return Look(f"the header before its answer is trained: {opening!r:.120}")
    tail = said[at + len(content) :]
    if calls and choice.tool_calls:
        return _calls(said, whole, calls) or _tail(tail, slack + _CHARACTERS_OF_CALLS * len(message["tool_calls"]))
    return Look() if calls else _tail(tail, slack)


def _parts(message: dict[str, Any]) -> tuple[str, str]:
    """The reasoning and the answer; templates of thinking models take the one out of the other."""
    thought, mark, answer = message["content"].rpartition(_THOUGHT_END)
    if not mark or message["reasoning"]:
        return (message["reasoning"] or "").strip(), message["content"].strip()
    return thought.strip().removeprefix(_THOUGHT).strip(), answer.strip()


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


def _loosely(said: str, content: str) -> Look:
    """White space apart: some templates write an answer's parts anew, as its thought and the rest."""
    tight, whole = "".join(said.split()), "".join(content.split())
    at = tight.find(whole)
    if at < 0:
        return Look(f"its answer {content!r:.80} is not what its labels cover: {said!r:.120}")
    if at > MOST_LITERAL_BYTES:
        return Look(f"before its answer is trained: {said!r:.120}")
    return _tail(tight[at + len(whole) :], MOST_LITERAL_BYTES)


def _tail(tail: str, most: int) -> Look:
    if not tail.strip():
        return Look("nothing that ends the turn is trained behind its answer, so a model could never learn to stop")
    if len(tail.encode()) > most:
        return Look(f"behind its answer is trained: {tail!r:.120}")
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
