"""Canaries: disguised copies of known questions, looked up in the very index that guards a run.

What an index must find by what it promises is an error when it is missed; edited copies show how far it carries.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tasks.algorithms.containment import QuestionIndex, Reach, column
from tasks.conversation import words

MOST_QUESTIONS = 20
"""Questions drawn of each benchmark."""
_CONTROL = "control"
_CONTROL_WORDS = 12
"""A control is made of questions with as many different words: fewer could fall into their old order."""

Disguise = Callable[[str], str]

_OTHER_CASE = str.maketrans({chr(code): chr(code ^ 0x20) for code in range(0x41, 0x7B) if chr(code).isalpha()})
_QUOTES = str.maketrans({"'": "’", '"': "”"})


class CanaryError(Exception):
    """An index that misses a question it must find, or finds one that is not there: no decontamination at all."""


def _marked(text: str) -> str:
    marks = [" ", "  ", "\t", " - ", " * ", "\u00a0"]
    parts = re.split(r"\s+", text.translate(_OTHER_CASE).strip())
    return "".join(part + marks[place % len(marks)] for place, part in enumerate(parts)) + "\n"


def _wrapped(text: str) -> str:
    parts = text.split()
    lines = [" ".join(parts[start : start + 5]) for start in range(0, len(parts), 5)]
    return "Hi there, one more thing:\n\n> " + "\n> ".join(lines) + "\n\nThanks a lot in advance!"


def _edited(text: str) -> str:
    return " ".join("qzx" if place % 12 == 5 else word for place, word in enumerate(words(text)))


def _cut(text: str) -> str:
    found = words(text)
    return " ".join(found[: -(-7 * len(found) // 10)])


UNCHANGED: dict[str, tuple[Disguise, tuple[Reach, ...]]] = {
    "verbatim": (lambda text: text, ("whole", "sentence", "anywhere")),
    "marked": (_marked, ("whole", "sentence", "anywhere")),
    "embedded": (lambda text: f"User: Could you help?\n\n{text}\n\nThink first. Assistant:", ("sentence", "anywhere")),
    "quoted": (lambda text: f"Please answer this: “{text.translate(_QUOTES)}”", ("sentence", "anywhere")),
    "inside": (lambda text: f"I was asked {text.translate(_OTHER_CASE)} and have no idea", ("anywhere",)),
    "wrapped": (_wrapped, ("anywhere",)),
}
"""Disguises that leave the words as they are, and the questions that must be found in spite of each."""
EDITED: dict[str, Disguise] = {"edited": _edited, "cut": _cut}
"""Disguises that change one word in twelve, or cut a question to 70 %; told, not asked for."""


class _Canary(NamedTuple):
    """A text to look up, and the question that it was made of."""

    benchmark: str
    kind: str
    name: str
    text: str


def plant(index: QuestionIndex, questions: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """What the index finds of canaries of each benchmark, which a question's name begins with, up to a space.

    `questions` counts those drawn, `distinctive` those among them that must be found anywhere in a text; `planted`
    and `found` count the copies that must be found: `recall` is 1, or there is a `CanaryError`. The kinds of copies
    follow, each with its recall, none where no question of the draw allows it; and `controls`, the questions with
    their words in another order, of which none was found.
    """
    by_benchmark: dict[str, list[tuple[str, str]]] = {}
    for name, text in questions:
        by_benchmark.setdefault(name.partition(" ")[0], []).append((name, text))
    drawn = {benchmark: _drawn(every) for benchmark, every in by_benchmark.items()}
    canaries = [canary for benchmark, chosen in drawn.items() for canary in _canaries(index, benchmark, chosen)]
    hits = {place for place, _ in index.find(column([each.text for each in canaries]))}
    found = [canary for place, canary in enumerate(canaries) if place in hits]
    _demand(canaries, found)
    planted = Counter((each.benchmark, each.kind) for each in canaries)
    known = Counter((each.benchmark, each.kind) for each in found)
    return [_told(benchmark, len(chosen), planted, known) for benchmark, chosen in drawn.items()]


def _drawn(questions: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Questions chosen by a hash of what they are, whatever their order."""
    keyed = sorted((hashlib.blake2b(repr(each).encode(errors="replace")).digest(), each) for each in questions)
    return [each for _, each in keyed[:MOST_QUESTIONS]]


def _canaries(index: QuestionIndex, benchmark: str, drawn: Sequence[tuple[str, str]]) -> Iterator[_Canary]:
    for name, text in drawn:
        reach = index.reach(text)
        for kind, (disguise, demanded) in UNCHANGED.items():
            if reach in demanded:
                yield _Canary(benchmark, kind, name, disguise(text))
        for kind, change in EDITED.items() if reach == "anywhere" else ():
            yield _Canary(benchmark, kind, name, change(text))
        if len(set(words(text))) >= _CONTROL_WORDS:
            yield _Canary(benchmark, _CONTROL, name, _shuffled(text))


def _demand(canaries: Sequence[_Canary], found: Sequence[_Canary]) -> None:
    missed = [each for each in sorted(set(canaries) - set(found)) if each.kind in UNCHANGED]
    if missed:
        raise CanaryError(
            f"decontamination misses {len(missed)} of {len(canaries)} canaries, first {missed[0].name} "
            f"({missed[0].kind}): “{_line(missed[0].text)}”; what it calls clean is not. Please report this"
        )
    invented = [each for each in found if each.kind == _CONTROL]
    if invented:
        raise CanaryError(
            f"decontamination finds {len(invented)} questions in texts that only share their words, first "
            f"{invented[0].name}: “{_line(invented[0].text)}”; it would drop rows for no reason. Please report this"
        )


def _told(
    benchmark: str, drawn: int, planted: Counter[tuple[str, str]], found: Counter[tuple[str, str]]
) -> dict[str, Any]:
    unchanged = [(benchmark, kind) for kind in UNCHANGED]
    total, hits = sum(planted[each] for each in unchanged), sum(found[each] for each in unchanged)
    return {
        "benchmark": benchmark,
        "questions": drawn,
        "distinctive": planted[benchmark, "inside"],
        "planted": total,
        "found": hits,
        "recall": _share(hits, total),
        **{kind: _share(found[benchmark, kind], planted[benchmark, kind]) for kind in [*UNCHANGED, *EDITED]},
        "controls": planted[benchmark, _CONTROL],
    }


def _shuffled(text: str) -> str:
    each = sorted(set(words(text)), key=lambda word: hashlib.blake2b(word.encode(errors="replace")).digest())
    return " ".join(each)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


def _share(found: int, planted: int) -> float | None:
    return found / planted if planted else None
