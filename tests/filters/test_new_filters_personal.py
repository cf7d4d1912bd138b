"""Personal data and secrets: what is found, what is left alone, and what is left of a text that was blanked out.

The secrets are put together here, so that scanners of source code do not take them for real ones.
"""

import json
from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.conversation import Message
from tasks.filters.personal import Kind, Personal
from tasks.filters.row import Columns, Reading

RANDOM = "Zk3v9QpL7xWd2RtY8mNb4HsJ6cGf1AeU5oIy0BqX"
TOKEN = ".".join(("eyJ" + "hbGciOiJFUzI1NiJ9", "eyJ" + RANDOM, RANDOM))
KEY_BLOCK = "-----BEGIN RSA PRIVATE" + f" KEY-----\n{RANDOM}\n{RANDOM}\n-----END RSA PRIVATE KEY-----"

FOUND: list[tuple[Kind, str, str]] = [
    ("email", "Write to anna.keller@posteo.de today.", "anna.keller@posteo.de"),
    ("email", "E-mail:bkowalski+bank@gmail.com", "bkowalski+bank@gmail.com"),
    ("email", "<m_oneil99@mail.utoronto.ca>", "m_oneil99@mail.utoronto.ca"),
    ("email", "mailto:l.huber@firma.co.at", "l.huber@firma.co.at"),
    ("phone", "Call (212) 684-4701 now.", "(212) 684-4701"),
    ("phone", "Call 912-901-8020 or write.", "912-901-8020"),
    ("phone", "Tel. 1-703-894-1805", "1-703-894-1805"),
    ("phone", "New York, NY 10038 212.285.0080.", "212.285.0080"),
    ("phone", "Rufen Sie +49 30 901820 an.", "+49 30 901820"),
    ("phone", "tel:+33 6 12 40 17 42", "+33 6 12 40 17 42"),
    ("phone", "WhatsApp: +447911852963", "+447911852963"),
    ("card", "Card 4539 1488 0343 6467, please.", "4539 1488 0343 6467"),
    ("card", "Card: 4539148803436467", "4539148803436467"),
    ("card", "It is 5425-2334-3010-9903.", "5425-2334-3010-9903"),
    ("card", "Amex 3714 496354 98421", "3714 496354 98421"),
    ("iban", "Pay to DE75 5121 0800 1245 1261 99.", "DE75 5121 0800 1245 1261 99"),
    ("iban", "IBAN NO8330001234567", "NO8330001234567"),
    ("iban", "MT31MALT01100000000000000000123", "MT31MALT01100000000000000000123"),
    ("ssn", "SSN: 536-22-8145.", "536-22-8145"),
    ("ssn", "My social security number is 536 22 8145", "536 22 8145"),
    ("secret", "key " + "AKIA" + "Q3EGTZ5RLW7KXMVB", "AKIA" + "Q3EGTZ5RLW7KXMVB"),
    ("secret", "token " + "ghp_" + RANDOM[:36], "ghp_" + RANDOM[:36]),
    ("secret", "github_pat_" + RANDOM + "_" + RANDOM, "github_pat_" + RANDOM + "_" + RANDOM),
    ("secret", "xoxb" + "-2847561930-" + RANDOM[:24], "xoxb" + "-2847561930-" + RANDOM[:24]),
    ("secret", "sk" + "-proj-" + RANDOM, "sk" + "-proj-" + RANDOM),
    ("secret", "HF: hf" + "_" + RANDOM[:34], "hf" + "_" + RANDOM[:34]),
    ("secret", "AIza" + RANDOM[:35] + ";", "AIza" + RANDOM[:35]),
    ("secret", "sk" + "_live_" + RANDOM[:24], "sk" + "_live_" + RANDOM[:24]),
    ("secret", f"Bearer {TOKEN}", TOKEN),
    ("secret", f"Here:\n{KEY_BLOCK}\nThat is it.", KEY_BLOCK),
    ("secret", f'api_key = "{RANDOM[:32]}"', RANDOM[:32]),
    ("secret", f"{{'clientSecret': '{RANDOM[:20]}'}}", RANDOM[:20]),
    ("secret", f'DB_PASSWORD="{RANDOM[:18]}"', RANDOM[:18]),
    ("secret", "postgres://anna:Tr4ub4dor@db.bank.io/main", "Tr4ub4dor"),
    ("ip", "The server is at 93.184.216.34.", "93.184.216.34"),
]
LEFT_ALONE = [
    "Write to anna@example.com or bob@mail.example.org.",
    "Write to info@bank.de, support@bank.de or no-reply@bank.de.",
    "Your address, as john.doe@gmail.com or your_name@company.com.",
    "Follow @anna on the platform; the price is 3@5.",
    "@app.route('/') and user@host without an ending",
    "Use logo@2x.png and git@github.com:bank/app.git",
    "Call 1-888-595-5485, it is toll-free.",
    "Call 212-555-0123 as in the film, or (555) 555-5555.",
    "In London call 020 7946 0123 or +44 7700 900123.",
    "Say 123-456-7890 or +1 234 567 8900.",
    "On 2022-03-05 08:30:00 and 10.12.2021 08:15",
    "Pi is 3.14159265359 and e is 2.718281828459.",
    "1 2 3 4 5 6 7 8 9 10 and 0 1 1 2 3 5 8 13 21 34",
    "ISBN 978-1-5247-3855-7, order 2125550123, part 40320/65536",
    "In total $1,234,567.89 of 14 159 265 euros",
    "The test card is 4111 1111 1111 1111 or 4242424242424242.",
    "The number 4539 1488 0343 6468 has a wrong check digit.",
    "45391488034364 67 is oddly grouped; 9999 9999 9999 9995 is no network's.",
    "The example is GB82 WEST 1234 5698 7654 32.",
    "DE75 5121 0800 1245 1261 98 has wrong check digits.",
    "The number 123-45-6789 stands for any, 000-12-3456 and 987-65-4321 are never given.",
    "The code is 536 22 8145.",
    'api_key = "YOUR_API_KEY_GOES_HERE_1"',
    'password = "correct horse battery"',
    'secret = "aaaaaaaaaaaaaaaa1111"',
    'token = "${SECRET_TOKEN_12345_FROM_ENV}"',
    'base_url = "https://api.bank.io/v2/accounts/1234567"',
    'encoded_string = "SGVsbG8sIFdvcmxkIQ=="',
    "AKIA" + "IOSFODNN7EXAMPLE",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx and sk-learn-based-classification-pipelines",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "postgres://user:password@localhost/db and ftp://anna:geheim@db.bank.io",
    "Addresses 192.168.1.1, 10.0.0.5, 127.0.0.1, 203.0.113.9 and 8.8.8.8, version 1.2.3.4567",
]
ALL = Personal(kinds=(*Personal().kinds, "ip"))


def columns(text: str) -> Columns:
    one = pl.Series([text], dtype=pl.String)
    return Columns(one, one, one, pl.Series([1]), pl.Series([1]))


def is_suspected(judge: Personal, text: str) -> bool:
    return bool(judge.suspects(columns(text))[0])


@pytest.mark.parametrize(("kind", "text", "held"), FOUND)
def test_personal_data_and_secrets_are_found(kind: Kind, text: str, held: str) -> None:
    assert [(each.kind, text[each.start : each.end]) for each in ALL.find(text)] == [(kind, held)]
    assert is_suspected(ALL, text)
    assert is_suspected(Personal(kinds=(kind,)), text)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_examples_and_what_names_no_person_are_left_alone(text: str) -> None:
    assert [(each.kind, text[each.start : each.end]) for each in ALL.find(text)] == []


@pytest.mark.parametrize(("kind", "text", "held"), FOUND)
def test_what_is_blanked_out_is_gone_and_the_rest_stays(kind: Kind, text: str, held: str) -> None:
    (message,) = ALL.redact([{"role": "user", "content": text}])
    assert message["content"] == text.replace(held, f"[{kind.upper()}]")
    assert ALL.redact([message]) == [message]


def test_only_the_kinds_and_regions_that_are_named_count() -> None:
    text = "anna.keller@posteo.de, 030 23125 456, (212) 684-4701, 93.184.216.34"
    assert [each.kind for each in Personal().find(text)] == ["email", "phone"]
    assert [each.kind for each in Personal(kinds=("email",)).find(text)] == ["email"]
    german = Personal(kinds=("phone",), regions=("DE",))
    assert [text[each.start : each.end] for each in german.find(text)] == ["030 23125 456"]
    with pytest.raises(ValidationError, match="regions has 'usa'"):
        Personal(regions=("usa",))


CALL = {"type": "function", "function": {"name": "pay", "arguments": {"card": 4539148803436467, "to": ["a", 3, True]}}}
TURNS: list[Message] = [
    {"role": "system", "content": "The customer is anna.keller@posteo.de."},
    {"role": "user", "content": "Pay it."},
    {"role": "assistant", "content": "", "reasoning": "Her IBAN is DE75512108001245126199.", "tool_calls": ""},
    {"role": "tool", "content": "Sent to +49 30 901820."},
]
TURNS[2]["tool_calls"] = json.dumps([CALL], separators=(",", ":"))


def test_every_part_of_every_turn_is_read_and_blanked_out() -> None:
    assert Personal().kinds_in(TURNS) == ("email", "iban", "card", "phone")
    blanked = Personal().redact(TURNS)
    assert [each["content"] for each in blanked] == ["The customer is [EMAIL].", "Pay it.", "", "Sent to [PHONE]."]
    assert blanked[2].get("reasoning") == "Her IBAN is [IBAN]."
    (call,) = json.loads(blanked[2].get("tool_calls") or "")
    assert call["function"]["arguments"] == {"card": "[CARD]", "to": ["a", 3, True]}
    assert Personal().kinds_in(blanked) == ()


def test_turns_without_findings_stay_as_they_are() -> None:
    spaced: list[Message] = [{"role": "assistant", "content": "", "tool_calls": '[{"a": 1.50}]'}]
    assert Personal().redact(spaced) == spaced


def test_rows_are_dropped_only_where_asked_and_the_evidence_hides_what_was_found() -> None:
    row = Reading("Pay it.", "", 1, 1, TURNS)
    assert Personal()(row) is None
    assert Personal(action="redact")(row) is None
    verdict = Personal(action="drop")(row)
    assert verdict == ("personal data", "email an…, iban DE…, card 45…, phone +4…")
    assert Personal(action="drop")(Reading("Hi", "Hello", 1, 1)) is None
    assert Personal(action="drop")(Reading("I am anna.keller@posteo.de", "Hello", 1, 1)) is not None


PIECES = [text for _, text, _ in FOUND] + [held for _, _, held in FOUND] + LEFT_ALONE
GLUE = st.sampled_from([" ", "\n", "-", ".", "@", "+", "1", "a", "(", '"', "=", "://", ":", ""]) | st.text(max_size=3)
MIXED = st.lists(st.sampled_from(PIECES) | GLUE | st.from_regex(r"[0-9 .()+-]{1,20}", fullmatch=True), max_size=7)


@given(MIXED.map("".join))
def test_whatever_is_found_is_suspected_and_does_not_outlive_its_blanking(text: str) -> None:
    found = ALL.find(text)
    assert all(one.end <= other.start for one, other in pairwise(found))
    for each in found:
        assert is_suspected(Personal(kinds=(each.kind,)), text)
    (blanked,) = ALL.redact([{"role": "user", "content": text}])
    assert ALL.find(blanked["content"]) == []
