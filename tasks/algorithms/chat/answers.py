"""Which characters of a rendered conversation a model must write itself: found by rendering, never by searching.

What a model is given at turn i is the conversation before it with a generation prompt, P; what stands there once it has
answered is the conversation through turn i, A. It must write what A has behind P, to the last character: its reasoning,
its answer or its calls, the end-of-turn token and the white space that belongs to the turn. Where the template has
generation tags, of that only what they hold.

A turn is trained in the text of the whole conversation where that text holds it as A does. Templates that rewrite
history (thinking models drop earlier reasoning) write it differently there; then the conversation is unrolled: the turn
is trained in a text of its own, A, together with earlier turns that A holds as they were written.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tasks.algorithms.chat.sandbox import Drawn, RefusedConversation, Shown, unused_characters
from tasks.algorithms.chat.text_places import Span, clipped, ends, shared, whole_tokens

Draw = Callable[[Sequence[Shown], bool], Drawn]
"""Messages and whether a generation prompt follows them → their text."""

_THOUGHT_MARK = re.compile("</?think>")


@dataclass(frozen=True)
class Trained:
    """Which of the assistant's words a model is trained on."""

    turns: Literal["all", "last"] = "all"
    reasoning: bool = True
    tool_calls: bool = True


EVERYTHING = Trained()


@dataclass(frozen=True)
class Text:
    """A rendered text and what of it is trained."""

    text: str
    spans: list[tuple[int, int, int]]
    """Half-open character ranges in order, each with the index of its message in the conversation."""


class Conversation:
    """A conversation that is rendered up to any of its turns."""

    def __init__(self, draw: Draw, messages: Sequence[Shown], end: Callable[[Shown], str], *, tagged: bool) -> None:
        """`end` gives what must be written behind an answer that the template leaves without an end."""
        self._draw, self._messages, self._end, self._tagged = draw, messages, end, tagged
        self._finished: dict[int, Drawn] = {}
        self._questions: tuple[str, list[int]] = "", [0]

    def texts(self, turns: Sequence[int], choice: Trained) -> list[Text]:
        """The texts in which the chosen turns are trained, each turn once; the whole conversation comes last."""
        found: list[tuple[Drawn, list[tuple[int, int, int]]]] = [(self.finished(len(self._messages)), [])]
        for index in reversed(turns):
            turn = _Turn(self, index)
            turn.verify(choice)
            fitting = ((spans, within) for drawn, spans in found if (within := turn.within(drawn)) is not None)
            spans, within = next(fitting, (None, []))
            if spans is None:
                spans, within = [], turn.spans(len(turn.drawn.text))
                found.append((turn.drawn, spans))
            spans[:0] = [(begin, end, index) for begin, end in turn.chosen(within, choice)]
        texts = [Text(drawn.text, spans) for drawn, spans in found if spans]
        return texts[::-1] or [Text(found[0][0].text, [])]

    def finished(self, count: int) -> Drawn:
        """The first messages, the last of them brought to an end."""
        if count not in self._finished:
            drawn = self._draw(self._messages[:count], False)
            last = self._messages[count - 1]
            end = self._end(last) if last["role"] == "assistant" else ""
            self._finished[count] = Drawn(drawn.text + end, drawn.tags, [*drawn.pieces, end]) if end else drawn
        return self._finished[count]

    def asked(self, count: int, prompt: bool = True) -> str:
        """The first messages, and the generation prompt behind them."""
        return self._draw(self._messages[:count], prompt).text

    def changed(self, index: int, **fields: object) -> str:
        """The text through a turn, had its message these fields; a field of none is left out."""
        message = {key: value for key, value in {**self._messages[index], **fields}.items() if value is not None}
        return self._draw([*self._messages[:index], message], False).text

    def end_before(self, count: int, prompt: str) -> int:
        """Where the words of the first messages end in their prompt; the prompt's end where that cannot be told."""
        marked, mark = self._with_last_marked(count)
        tail = self._draw(marked, True).text.partition(mark)[2]
        return len(prompt) - len(tail) if tail and prompt.endswith(tail) else len(prompt)

    def between(self, index: int) -> int:
        """Where the words before a turn end in the text through that turn; −1 where that cannot be told."""
        marked, mark = self._with_last_marked(index)
        text, tail = self.finished(index + 1).text, self._draw([*marked, self._messages[index]], False).text
        tail = tail.partition(mark)[2] + (self._end(self._messages[index]) if mark in tail else "")
        return len(text) - len(tail) if tail and text.endswith(tail) else -1

    def questions_end(self, count: int, text: str) -> int:
        """Where the last question of the first messages ends in a text that holds them all in order; −1 in others."""
        known, ends = self._questions
        if not known.startswith(text):
            ends, place = [0], 0
            for message in self._messages[:count]:
                if message["role"] == "user" and place >= 0:
                    said = message["content"].strip()
                    found = text.find(said, place)
                    place = found + len(said) if found >= 0 else -1
                ends.append(place)
            self._questions = text, ends
        return ends[count]

    def shows_ends(self, count: int) -> bool:
        """Whether the first messages' questions are written from their first to their last character, if otherwise."""
        first, last = unused_characters(self.finished(len(self._messages)).text, 2)
        asking = [each["role"] == "user" for each in self._messages[:count]]
        text = self._draw(
            [
                {**each, "content": first + each["content"] + last} if asks else each
                for each, asks in zip(self._messages, asking, strict=False)
            ],
            True,
        ).text
        # JSON may spell a mark by its number.
        return all(text.count(mark) + text.count(json.dumps(mark)[1:-1]) >= sum(asking) for mark in (first, last))

    def _with_last_marked(self, count: int) -> tuple[list[Shown], str]:
        if not count:
            return [], ""
        *others, last = self._messages[:count]
        (mark,) = unused_characters(self.finished(len(self._messages)).text, 1)
        return [*others, {**last, "content": last["content"] + mark}], mark

    def message(self, index: int) -> Shown:
        return self._messages[index]

    @property
    def tagged(self) -> bool:
        return self._tagged


def _holds(text: str, parts: Sequence[str]) -> bool:
    """Whether the parts stand in a text, one behind the other."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


class _Turn:
    """An assistant's turn, at the time when it was the last one."""

    def __init__(self, conversation: Conversation, index: int) -> None:
        self._conversation, self._index = conversation, index
        self._message = conversation.message(index)
        self._content: str = self._message["content"]
        self.drawn = conversation.finished(index + 1)
        self._text = self.drawn.text
        self._begin = self._after_prompt()

    def verify(self, choice: Trained) -> None:
        """Raise RefusedConversation where the text does not hold what the message says, and an end behind it."""
        text, content, calls = self._text, self._content.strip(), self._message.get("tool_calls") or []
        if not self._shows_content():
            raise self._refusal("does not show its content as it is")
        if not self._follows_questions():
            raise self._refusal("leaves out what the user says before it")
        if choice.tool_calls and (name := self._unwritten_call(calls)) is not None:
            raise self._refusal(f"does not write its call of {name!r}")
        if self._conversation.tagged and not clipped(self.drawn.tags, self._begin, len(text)):
            raise self._refusal("leaves it out of its generation tags")
        written = text[self._begin :].strip()
        ends_in_content = content and written.endswith(content) and not calls
        if not written or (ends_in_content and not text[self._own_end() :].strip()):
            raise self._refusal("ends it with no token, so a model could never learn to stop")

    def _shows_content(self) -> bool:
        """Whether all that the message says is to be written, in its order; its thoughts may get other marks."""
        text, content = self._text, self._content.strip()
        # The prompt may already hold the first words of the answer.
        start = max(0, self._begin - len(content) + 1) if content else self._begin
        place = text.find(content, start)
        if place >= 0 and not self._conversation.tagged:
            return True
        spans = self.spans(len(text))
        given = text[start : self._begin] if spans and spans[0][0] == self._begin else ""
        written = given + "".join(text[begin:end] for begin, end in spans)
        return _holds(written, [part.strip() for part in _THOUGHT_MARK.split(content)])

    def _follows_questions(self) -> bool:
        end = self._conversation.questions_end(self._index, self._text)
        return 0 <= end <= self._begin or self._conversation.shows_ends(self._index)

    def _unwritten_call(self, calls: Sequence[Any]) -> str | None:
        written, said = self._text[self._begin :], f"{self._content} {self._message.get('reasoning_content', '')}"
        for name in (str(each["function"]["name"]) for each in calls):
            if name not in written:
                return name
            # Where the message speaks of the tool as well, its name alone does not show the call.
            if written.count(name) <= said.count(name) and (region := self._calls()) and region[0] == region[1]:
                return name
        return None

    def spans(self, limit: int) -> list[Span]:
        """What the model must write of the first `limit` characters of its text."""
        if not self._conversation.tagged:
            return [(self._begin, limit)]
        return clipped(self.drawn.tags, self._begin, limit)

    def within(self, other: Drawn) -> list[Span] | None:
        """The same in another text, or none where that does not hold the turn as it was written."""
        limit = len(self._text)
        if not other.text.startswith(self._text):
            limit = self._limit(other)
            end = self._own_end() if limit > self._begin else limit
            # A tail that only the end of a conversation has may be missing there, but not what ends the answer.
            if not self._text[end:limit].strip():
                return None
        spans = self.spans(limit)
        if self._conversation.tagged and spans != clipped(other.tags, self._begin, limit):
            return None
        return spans

    def chosen(self, spans: list[Span], choice: Trained) -> list[Span]:
        """Without what is not to be trained."""
        calls = bool(self._message.get("tool_calls"))
        if calls and not choice.tool_calls:
            region = self._calls()
            if region is None:  # the template writes the turn otherwise without its calls
                return []
            spans = [*clipped(spans, 0, region[0]), *clipped(spans, region[1], len(self._text))]
        if self._message.get("reasoning_content") and not choice.reasoning:
            spans = clipped(spans, self._after_reasoning(calls), len(self._text))
        return spans

    def _after_prompt(self) -> int:
        text, prompt = self._text, self._conversation.asked(self._index)
        if text.startswith(prompt):
            return len(prompt)
        own = shared(text, self._with_mark(before=True)[0])
        both = shared(text, prompt)
        before = self._conversation.end_before(self._index, prompt)
        if before <= both:
            # The prompt opens what this answer does not have, such as <think>: what they share is given to the model.
            if own < before:
                raise self._refusal("writes its words into earlier turns")
            return min(whole_tokens(text, before, both), own)
        # The template writes earlier turns differently once this one is there. The prompt stands between them.
        plain, between = self._conversation.asked(self._index, prompt=False), self._conversation.between(self._index)
        opening = prompt[len(plain) :] if prompt.startswith(plain) else ""
        if not opening.strip() or between < 0 or text[between:own].count(opening) != 1:
            raise self._refusal("writes the turns before it differently once it is there")
        return text.index(opening, between) + len(opening)

    def _limit(self, other: Drawn) -> int:
        """How much of the text another one shares, in whole bits that the template wrote, else in whole tokens."""
        both = shared(self._text, other.text)
        marks = ends(self.drawn.pieces, both) & ends(other.pieces, both)
        limit = max(marks, default=0)
        # A template may write the whole conversation as one bit.
        return limit if limit > self._begin else whole_tokens(self._text, self._begin, both)

    def _own_end(self) -> int:
        """Where the last of the message's own words ends; the text's end where that cannot be told."""
        text = self._text
        marked, mark = self._with_mark(before=False)
        tail = marked.rpartition(mark)[2] if mark in marked else None
        raw = self._conversation.changed(self._index)
        if tail is None or not raw.endswith(tail):
            return len(text)
        end = len(raw) - len(tail)
        if self._message.get("tool_calls"):
            region = self._calls()
            return len(text) if region is None else max(end, region[1])
        return end

    def _calls(self) -> Span | None:
        """Where the calls stand, with their marks."""
        with_calls = self._conversation.changed(self._index)
        without = self._conversation.changed(self._index, tool_calls=None)
        begin = shared(with_calls, without)
        tail = shared(with_calls[begin:][::-1], without[begin:][::-1])
        if begin + tail != len(without):
            return None
        end = len(with_calls) - tail
        # `<call><end>` without `<call>` is `<end>`: what they share at first may be a part of the call's mark.
        while whole_tokens(with_calls, 0, begin) < begin and with_calls[begin - 1] == with_calls[end - 1]:
            begin, end = begin - 1, end - 1
        return begin, end

    def _after_reasoning(self, calls: bool) -> int:
        begins = []
        region = self._calls() if calls else None
        if region is not None:
            begins.append(region[0])
        if self._content.strip() or not calls:
            marked = self._conversation.changed(self._index, content=(mark := self._mark()) + self._content)
            place = marked.find(mark)
            if place >= 0 and self._text.startswith(marked[:place]):
                begins.append(place)
        if not begins:
            fields = {"reasoning_content": None, "thinking": None}
            raw, without = self._conversation.changed(self._index), self._conversation.changed(self._index, **fields)
            begin = shared(raw, without)
            tail = shared(raw[begin:][::-1], without[begin:][::-1])
            if begin + tail != len(without):
                raise self._refusal("does not show where its reasoning ends")
            begins.append(len(raw) - tail)
        return min(begins)

    def _with_mark(self, *, before: bool) -> tuple[str, str]:
        """The text, had the message's own words a mark before or behind them."""
        mark = self._mark()
        fields = {"content": mark + self._content if before else self._content + mark}
        if before:
            fields |= {
                key: mark + self._message[key] for key in ("reasoning_content", "thinking") if key in self._message
            }
        return self._conversation.changed(self._index, **fields), mark

    def _mark(self) -> str:
        return unused_characters(self._text, 1)[0]

    def _refusal(self, what: str) -> RefusedConversation:
        return RefusedConversation(f"at turn {self._index + 1} the chat template {what}")
