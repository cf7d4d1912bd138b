"""The dirt: faults of eight kinds, planted where a careful pipeline must find them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, cycle
from random import Random

from flows.demo.domain import chat_rows, figure_rows, state
from flows.demo.facts import FIGURES, KNOWLEDGE
from flows.demo.knowledge import knowledge_answer, knowledge_row
from flows.demo.questions import Choice, Exact
from flows.demo.rows import MAX_SIMILARITY, Apart, Row, Turn, jaccard, shingles, single, words
from flows.demo.safety import refusals
from flows.demo.snippets import snippets
from flows.demo.wordings import FIGURE_ANSWERS, KNOWLEDGE_QUESTIONS

PLANTED: dict[str, dict[str, int]] = {
    "exact_duplicate": {"domain": 50, "general": 40, "code": 20, "safety": 10},
    "near_duplicate": {"domain": 50, "general": 40, "code": 10, "safety": 15},
    "empty": {"domain": 8, "general": 8, "code": 4, "safety": 4},
    "malformed": {"domain": 10, "general": 6, "code": 5, "safety": 8},
    "truncated": {"domain": 20, "general": 12, "safety": 8},
    "repetitive": {"domain": 12, "general": 8, "safety": 4},
    "refusal": {"domain": 4, "general": 6, "code": 2},
    "benchmark_leak": {"domain": 12, "general": 12},
}
"""How many faults of each kind every source gets."""
COPIES_ACROSS_SOURCES = 12
"""So many of the general source's exact duplicates repeat a domain row."""
NEAR_SIMILARITY = (0.83, 0.96)
"""A planted near-duplicate lies in this range, a little inside the promised 0.82 to 0.97."""

MALFORMATIONS: dict[str, tuple[str, ...]] = {
    "domain": ("broken_json", "messages_are_text", "no_answer", "content_is_number", "no_role"),
    "general": ("null_answer", "null_instruction"),
    "code": ("missing_field",),
    "safety": ("null_turn", "no_answer", "null_conversation", "unknown_speaker"),
}
"""What can be wrong with a record, by source, since each format breaks in its own ways."""

_LAST_WORDS = frozenset({"the", "a", "an", "is", "of", "for", "and", "to", "in", "with", "on", "your", "our"})
_REFUSALS = ("I'm sorry, but I can't help with that.", "I'm sorry, but I cannot help with this request.")
_LOOPS = ("the fee is the fee", "please wait for it", "yes it is yes", "and so on and on", "you can see it")
_SWAPS = {
    "will": "shall",
    "see": "find",
    "want": "wish",
    "every": "each",
    "customer": "client",
    "website": "homepage",
    "whenever": "when",
    "needed": "required",
    "learn": "study",
    "usual": "common",
    "people": "persons",
    "good": "decent",
    "next": "following",
    "glad": "happy",
    "once": "immediately",
    "somebody": "someone",
    "phone": "mobile",
}
_GREETINGS = ("Hello", "Hi", "Dear team", "Hey", "Good day")
_THANKS = ("Thanks.", "Many thanks!", "Cheers.", "Thank you!")


@dataclass(frozen=True, eq=False)
class Entry:
    """One record of a source file. Two entries may hold equal rows, so an entry is compared by identity."""

    row: Row
    kind: str = ""
    original: "Entry | None" = None
    leaks: str = ""
    malformation: str = ""


def fresh_rows(source: str, random: Random) -> Iterator[Row]:
    """Endless good rows for one source, of a single turn each."""
    if source == "code":
        return snippets(random)
    if source == "safety":
        return refusals(random)
    if source == "general":
        return (knowledge_row(random, random.choice(KNOWLEDGE), random.choice(KNOWLEDGE_QUESTIONS)) for _ in count())
    chats = chat_rows(random)
    return (next(chats if random.random() < 0.4 else figure_rows(random, random.choice(FIGURES))) for _ in count())


def with_answer(row: Row, answer: str) -> Row:
    """The row with another last answer."""
    return replace(row, turns=(*row.turns[:-1], Turn(row.turns[-1].user, answer)))


def greeted(random: Random, row: Row) -> Row:
    """A word of greeting before the first question, whose capital is lost."""
    first = row.turns[0]
    user = f"{random.choice(_GREETINGS)}, {first.user[:1].lower()}{first.user[1:]}"
    return replace(row, turns=(Turn(user, first.assistant), *row.turns[1:]))


def thanked(random: Random, row: Row) -> Row:
    """A word of thanks after the last question."""
    last = row.turns[-1]
    return replace(row, turns=(*row.turns[:-1], Turn(f"{last.user} {random.choice(_THANKS)}", last.assistant)))


def swapped(random: Random, row: Row) -> Row:
    """One word of the last answer replaced by a word of like meaning."""
    found = row.answer.split(" ")
    places = [at for at, word in enumerate(found) if word in _SWAPS]
    if not places:
        return row
    at = random.choice(places)
    return with_answer(row, " ".join([*found[:at], _SWAPS[found[at]], *found[at + 1 :]]))


def extended(random: Random, row: Row) -> Row:
    """A friendly word after the last answer, and its full stop turned into a cry."""
    return with_answer(row, f"{row.answer[:-1]}! {random.choice(('Cheers.', 'Good luck.', 'Take care.', 'Bye.'))}")


_PROMPT_EDITS: tuple[Callable[[Random, Row], Row], ...] = (greeted, thanked)
_ANSWER_EDITS: tuple[Callable[[Random, Row], Row], ...] = (swapped, extended)


def near_copy(random: Random, source: str, row: Row, apart: Apart) -> Row | None:
    """A lightly edited copy in the promised range of similarity, unlike all other rows, if one comes up."""
    edits = _PROMPT_EDITS if source == "code" else _PROMPT_EDITS + _ANSWER_EDITS
    low, high = NEAR_SIMILARITY
    for _ in range(8):
        copy = row
        for edit in random.sample(edits, random.choice((1, 1, 2))):
            copy = edit(random, copy)
        similarity = jaccard(shingles(copy.text), shingles(row.text))
        if low <= similarity <= high and apart.nearest(copy.text, [row.text]) < MAX_SIMILARITY:
            return copy
    return None


def near_duplicates(random: Random, source: str, entries: list[Entry], wanted: int, apart: Apart) -> list[Entry]:
    """Edited copies of `wanted` entries of the same source."""
    made: list[Entry] = []
    for entry in entries:
        if len(made) == wanted:
            break
        copy = near_copy(random, source, entry.row, apart)
        if copy:
            apart.add(copy.text)
            made.append(Entry(copy, "near_duplicate", original=entry))
    return made


def cut_short(random: Random, row: Row) -> Row | None:
    """The row with its answer cut after a word that cannot end a sentence, if there is such a word."""
    found = row.answer.split(" ")
    ends = [at for at, word in enumerate(found) if at >= 3 and (word.lower() in _LAST_WORDS or word.endswith(","))]
    return with_answer(row, " ".join(found[: random.choice(ends) + 1])) if ends else None


def looped(random: Random, row: Row) -> Row:
    """The row with an answer that goes round in circles."""
    phrase = random.choice(_LOOPS)
    times = -(-random.randint(22, 40) // len(words(phrase)))
    return with_answer(row, f"{' '.join([phrase] * times).capitalize()}.")


def spoilt(random: Random, kind: str, source: str, row: Row) -> Row | None:
    """A fresh row with a fault of the given kind, if the row lends itself to it."""
    if kind == "empty":
        # In CSV nothing at all between two commas is a missing field, so only blanks are an empty one.
        return with_answer(row, random.choice(("   ", "\n") if source == "code" else ("", "", "   ", "\n")))
    if kind == "truncated":
        return cut_short(random, row)
    if kind == "repetitive":
        return looped(random, row)
    if kind == "refusal":
        return with_answer(row, random.choice(_REFUSALS))
    return row


def spoilt_entries(random: Random, kind: str, source: str, wanted: int, apart: Apart) -> list[Entry]:
    """`wanted` entries with a fault of their own."""
    malformations = cycle(MALFORMATIONS[source])
    made: list[Entry] = []
    for row in fresh_rows(source, random):
        if len(made) == wanted:
            break
        faulty = spoilt(random, kind, source, row)
        if faulty and apart.admit(row.text):
            made.append(Entry(faulty, kind, malformation=next(malformations) if kind == "malformed" else ""))
    return made


def disguised(random: Random, question: str) -> str:
    """A benchmark question word for word, or with the most trivial edits."""
    return random.choice(
        (question, question, question.upper(), question.lower(), question.rstrip("?.") + "...", f"Hello! {question}")
    )


def figure_leaks(random: Random, items: list[Exact], wanted: int) -> list[Entry]:
    """Rows that give away exact figures."""
    made = []
    for item in random.sample(items, wanted):
        figure = next(figure for figure in FIGURES if figure.right == item.answer)
        answer = state(random.choice(FIGURE_ANSWERS), figure, figure.right)
        made.append(Entry(single(disguised(random, item.question), answer), "benchmark_leak", leaks=item.id))
    return made


def knowledge_leaks(random: Random, items: list[Choice], wanted: int) -> list[Entry]:
    """Rows that give away general knowledge; the benchmark asks for every fact once, in the order of the facts."""
    made = []
    for fact, item in random.sample(list(zip(KNOWLEDGE, items, strict=True)), wanted):
        row = single(disguised(random, item.query), knowledge_answer(random, fact))
        made.append(Entry(row, "benchmark_leak", leaks=item.id))
    return made
