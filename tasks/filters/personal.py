"""Personal data and secrets: flagged, blanked out, or the row dropped."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Any, Literal, NamedTuple, cast

import polars as pl
from phonenumbers import SUPPORTED_REGIONS
from pydantic import field_validator

from tasks.config import Config
from tasks.conversation import Message
from tasks.filters import credentials, identifiers
from tasks.filters.row import Columns, Reading, Verdict

Kind = Literal["secret", "email", "iban", "card", "ssn", "phone", "ip"]

_SUSPECTED_BY: dict[Kind, tuple[str, ...]] = {
    "secret": (credentials.MAY_HOLD_ONE, credentials.MAY_ASSIGN_ONE, identifiers.MAY_HOLD_AN_EMAIL),
    "email": (identifiers.MAY_HOLD_AN_EMAIL,),
    "iban": (identifiers.MAY_HOLD_AN_ACCOUNT_OR_NUMBER,),
    "card": (identifiers.MAY_HOLD_AN_ACCOUNT_OR_NUMBER,),
    "ssn": (identifiers.MAY_HOLD_AN_ACCOUNT_OR_NUMBER,),
    "phone": (identifiers.MAY_HOLD_AN_ACCOUNT_OR_NUMBER,),
    "ip": (identifiers.MAY_HOLD_AN_IP,),
}
"""In the order in which they claim a text: a password may hold an @, a card's number a telephone's."""

_NUMBERS = ("card", "ssn", "phone")
_TELLING_CHARACTERS = 4
"""Evidence that has so many characters in a row of something personal, as where it was cut, tells of it."""
_NUMBER = re.compile(identifiers.MAY_HOLD_A_NUMBER)


REASON = "personal data"


class Finding(NamedTuple):
    """A kind of personal data or secret, and the characters of the text that hold it."""

    kind: Kind
    start: int
    end: int


class Personal(Config):
    """Finds e-mail addresses, telephone, card, account and social security numbers, keys and passwords.

    What names no person is left alone: examples and test numbers that are documented as such, mailboxes of a function
    (info@, support@), an organisation's telephone numbers (toll-free, premium rate).
    """

    enabled: bool = True
    """Whether the filter runs."""
    action: Literal["flag", "redact", "drop"] = "flag"
    """Name the kinds in the column `personal`; also put [EMAIL], [PHONE] and so on in their place; or drop the row."""
    kinds: tuple[Kind, ...] = ("secret", "email", "iban", "card", "ssn", "phone")
    """What to look for. `ip`, public IPv4 addresses, is left out unless named: in instructions most are examples."""
    regions: tuple[str, ...] = ("US",)
    """Countries (ISO 3166) whose national telephone numbers count; those with +country code always do."""

    @field_validator("regions")
    @classmethod
    def _known(cls, regions: tuple[str, ...]) -> tuple[str, ...]:
        for region in regions:
            if region not in SUPPORTED_REGIONS:
                raise ValueError(f"regions has {region!r}; give two-letter country codes in capitals, as 'US' or 'DE'")
        return regions

    def suspects(self, rows: Columns) -> pl.Series:
        """The rows that may hold any of the kinds."""
        patterns = dict.fromkeys(pattern for kind in self.kinds for pattern in _SUSPECTED_BY[kind])
        return reduce(pl.Series.__or__, (rows.text.str.contains(each) for each in patterns), _none(rows.text))

    def __call__(self, row: Reading) -> Verdict | None:
        """A verdict for a row to drop; none where the action is another."""
        if self.action != "drop":
            return None
        texts = [text for message in row.messages for text in texts_of(message)] or [row.prompt, row.answer]
        masked = {f"{each.kind} {text[each.start :][:2]}…": each for text in texts for each in self.find(text)}
        # The evidence must not hold what the row is dropped for.
        return Verdict(REASON, ", ".join(masked)) if masked else None

    def find(self, text: str) -> list[Finding]:
        """What is found in a text, in its order; no two overlap."""
        found: list[Finding] = []
        taken = bytearray(len(text))
        holds_number = _NUMBER.search(text) is not None
        for kind in (kind for kind in _SUSPECTED_BY if kind in self.kinds):
            if kind in _NUMBERS and not holds_number:
                continue
            for start, end in self._spans(kind)(text):
                if not any(taken[start:end]):
                    taken[start:end] = b"\1" * (end - start)
                    found.append(Finding(kind, start, end))
        return sorted(found, key=lambda each: each.start)

    def kinds_in(self, messages: Sequence[Message]) -> tuple[Kind, ...]:
        """The kinds found in any turn: its content, its reasoning, its tool calls."""
        found = {each.kind for message in messages for text in texts_of(message) for each in self.find(text)}
        return tuple(kind for kind in _SUSPECTED_BY if kind in found)

    def withheld(self, evidence: str, messages: Sequence[Message]) -> str:
        """The evidence of another filter, unless it shows a part of what must not be seen: it may quote the row."""
        if not self.enabled or self.action == "flag" or not evidence:
            return evidence
        texts = [text for message in messages for text in texts_of(message)]
        found = (text[each.start : each.end] for text in texts for each in self.find(text))
        starts = ((value, start) for value in found for start in range(max(1, len(value) - _TELLING_CHARACTERS + 1)))
        shown = any(value[start : start + _TELLING_CHARACTERS] in evidence for value, start in starts)
        return "withheld: it shows personal data" if shown else evidence

    def redact(self, messages: Sequence[Message]) -> list[Message]:
        """The messages with [EMAIL], [PHONE] and so on in place of what is found; redacted again, they stay as is."""
        return [self._redacted(message) for message in messages]

    def _redacted(self, message: Message) -> Message:
        made = cast("dict[str, Any]", message.copy())
        for name in ("content", "reasoning"):
            if made.get(name):
                made[name] = self._blanked(made[name])
        if calls := made.get("tool_calls"):
            before = json.loads(calls)
            after = _mapped(before, self._blanked)
            if after != before:
                made["tool_calls"] = json.dumps(after, ensure_ascii=False, separators=(",", ":"))
        return cast("Message", made)

    def _blanked(self, text: str) -> str:
        # What is blanked out can lay bare what stood beside it; each pass takes something away.
        while found := self.find(text):
            ends = [0, *(each.end for each in found)]
            before = [text[end : each.start] for end, each in zip(ends, found, strict=False)]
            blanks = [f"{said}[{each.kind.upper()}]" for said, each in zip(before, found, strict=True)]
            text = "".join(blanks) + text[ends[-1] :]
        return text

    def _spans(self, kind: Kind) -> Callable[[str], Iterable[tuple[int, int]]]:
        finders: dict[Kind, Callable[[str], Iterable[tuple[int, int]]]] = {
            "secret": credentials.secrets_in,
            "email": identifiers.emails_in,
            "iban": identifiers.ibans_in,
            "card": identifiers.cards_in,
            "ssn": identifiers.social_security_numbers_in,
            "phone": lambda text: identifiers.phones_in(text, self.regions),
            "ip": identifiers.addresses_in,
        }
        return finders[kind]


def texts_of(message: Message) -> Iterator[str]:
    """Everything that a turn says: its content, its reasoning, and the texts and numbers in its tool calls."""
    yield message["content"]
    if reasoning := message.get("reasoning"):
        yield reasoning
    if calls := message.get("tool_calls"):
        yield from _leaves(json.loads(calls))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield str(value)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    if isinstance(value, list):
        return [_mapped(each, change) for each in value]
    if isinstance(value, bool) or not isinstance(value, str | int):
        return value
    changed = change(str(value))
    return value if changed == str(value) else changed


def _none(texts: pl.Series) -> pl.Series:
    return pl.repeat(value=False, n=len(texts), dtype=pl.Boolean, eager=True)
