"""Personal data that has a form: e-mail addresses, and numbers whose check digits or numbering plans prove them."""

import ipaddress
import re
from collections.abc import Iterator

from phonenumbers import Leniency, PhoneNumber, PhoneNumberMatcher, PhoneNumberType, number_type
from stdnum import iban as iban_number
from stdnum import luhn
from stdnum.us import ssn as social_security

Span = tuple[int, int]

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+\-@])(?P<name>[A-Za-z0-9_%+][A-Za-z0-9._%+\-]{0,63})"
    r"@(?P<domain>(?:[A-Za-z0-9](?:[A-Za-z0-9\-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,18})(?![A-Za-z0-9_])"
)
_LINK_CHARACTERS = 80
"""In https://name:password@host, what stands around the @ is no address."""
_RESERVED_DOMAIN = re.compile(
    r"(?:^|\.)(?:example|test|invalid|localhost|local)(?:\.(?:com|org|net|edu))?$"
    r"|(?:^|\.)(?:e?mail|domain|website|company|yourcompany|mycompany|yourdomain|mydomain|server|site|xyz|abc|acme)"
    r"\.[a-z]{2,4}$|\.(?:png|jpe?g|gif|svg|webp|css|json|js|git|jar|so|dll|exe|service|md|txt)$"
)
"""RFC 2606's names, those that people write in their place, and endings of files."""
_ROLE = re.compile(
    r"(?:\w*info|\w*staff|support|help|helpdesk|contact|contactus|admin|administrator|webmaster|sales|service|services|office|press"
    r"|media|hr|jobs|careers|offers|webmail|billing|orders?|feedback|enquiries|inquiries|customer[._-]?\w*|no-?reply|do-?not-?reply"
    r"|postmaster|abuse|privacy|security|legal|news(?:letter)?|marketing|team|mail|email|e-mail|git|root|hello"
    r"|your[._-]?\w*|my[._-]?\w*|user(?:name)?\d*|name|someone|somebody|test\d*|sample|example|first\W?last"
    r"|j(?:ohn|ane)?[._-]?(?:doe|smith|public)\d*|john|jane|foo|bar|abc|xyz|xxx+|me|you|recipient|sender|\d{1,4})",
    re.I,
)
"""Mailboxes of a function, which name no person, and the names in examples."""

_CARD = re.compile(r"(?<![A-Za-z0-9.,+\-_/])[2-6][0-9](?:[ -]?[0-9]){11,17}(?![A-Za-z0-9_]|[.,\-/][0-9])")
_CARD_NETWORKS = re.compile(
    r"4[0-9]{15}(?:[0-9]{3})?"  # Visa
    r"|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"  # Mastercard
    r"|3[47][0-9]{13}"  # American Express
    r"|6(?:011|4[4-9][0-9]|5[0-9]{2})[0-9]{12}"  # Discover
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}"  # Diners Club
    r"|35(?:2[89]|[3-8][0-9])[0-9]{12}"  # JCB
    r"|62[0-9]{14,17}"  # UnionPay
)
_CARD_GROUPS = frozenset({"4444", "465", "464", "44443", "4443"})
_PUBLISHED_CARDS = (
    "4111111111111111 4242424242424242 4012888888881881 4000056655665556 4000000000000002 4012000033330026 "
    "4222222222222222 5555555555554444 5105105105105100 5200828282828210 5454545454545454 2223003122003222 "
    "2223000048400011 378282246310005 371449635398431 378734493671000 6011111111111117 6011000990139424 "
    "6011000000000004 30569309025904 38520000023237 36227206271667 3056930009020004 3530111333300000 "
    "3566002020360505 6200000000000005 4539578763621486 1234567812345670"
)
_TEST_CARDS = frozenset(_PUBLISHED_CARDS.split())
"""The numbers that Stripe, PayPal, Adyen and Wikipedia publish for tests."""

_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_PUBLISHED_IBANS = (
    "GB82WEST12345698765432 GB29NWBK60161331926819 GB33BUKB20201555555555 DE89370400440532013000 "
    "FR1420041010050500013M02606 FR7630006000011234567890189 NL91ABNA0417164300 BE68539007547034 CH9300762011623852957 "
    "ES9121000418450200051332 IT60X0542811101000000123456 AT611904300234573201 IE29AIBK93115212345678"
)
_EXAMPLE_IBANS = frozenset(_PUBLISHED_IBANS.split())
"""The registry's and Wikipedia's examples."""

_SSN = re.compile(r"(?<![A-Za-z0-9\-+.])[0-9]{3}([- ])[0-9]{2}\1[0-9]{4}(?![A-Za-z0-9]|[\-.][0-9])")
_SSN_NAMED = re.compile(r"\bSSNs?\b|social.security", re.I)
_EXAMPLE_SSNS = frozenset({"123-45-6789", "078-05-1120", "219-09-9999", "111-11-1111", "123-12-1234", "111-22-3333"})

_PHONE = re.compile(
    r"(?<![A-Za-z0-9_.,$€£\-=/])(?:\(?\+ ?)?\(?[0-9](?:(?: - |\) ?-?|[ \-.]\(?)?[0-9]){6,16}"
    r"(?![A-Za-z0-9_]|[,\-/:][0-9])"
)
_NOT_PERSONAL = frozenset(
    {PhoneNumberType.TOLL_FREE, PhoneNumberType.PREMIUM_RATE, PhoneNumberType.SHARED_COST, PhoneNumberType.UAN}
)
"""Numbers that are an organisation's."""
_FICTIONAL = re.compile(r"1[0-9]{3}555[0-9]{4}|447700900[0-9]{3}|4420794600?[0-9]{2,3}|441632960[0-9]{3}")
"""The ranges that regulators keep for films and examples: 555 in North America, Ofcom's numbers for drama."""
_GROUP = re.compile(r"[0-9]+")
_MIN_GROUPS, _MOST_GROUPS = 3, 6
"""Bare digits are as likely an amount or an identifier, many short groups a sequence."""
_DATE_OR_ADDRESS = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}$|[12][0-9]{3}[-. ][0-9]{2}[-. ][0-9]{2}\b")
_COUNTED = re.compile(r"123456|234567|345678|456789|987654|876543")

_IP = re.compile(r"(?<![A-Za-z0-9.\-/])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![A-Za-z0-9\-]|\.[0-9])")
_PUBLIC_RESOLVERS = frozenset({"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9", "1.2.3.4", "5.6.7.8"})

MAY_HOLD_AN_EMAIL = r"[A-Za-z0-9_%+\-.]@[A-Za-z0-9]"
MAY_HOLD_A_NUMBER = r"[0-9](?:[ \-.()]{0,3}[0-9]){6}"
MAY_HOLD_AN_ACCOUNT_OR_NUMBER = rf"{MAY_HOLD_A_NUMBER}|[0-9]{{2}} ?[A-Z0-9]{{4}} ?[A-Z0-9]{{4}} ?[A-Z0-9]{{3}}"
MAY_HOLD_AN_IP = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]"
"""What each of them holds, in Rust's syntax; cards, social security and telephone numbers are numbers. One scan for
accounts and numbers takes hardly longer than one for either."""


def emails_in(text: str) -> Iterator[Span]:
    """Where e-mail addresses of people stand; mailboxes of functions and examples are left out."""
    for found in _EMAIL.finditer(text) if "@" in text else ():
        in_link = "://" in text[max(0, found.start() - _LINK_CHARACTERS) : found.start()].rpartition(" ")[2]
        reserved = _RESERVED_DOMAIN.search(found["domain"].lower()) or _ROLE.fullmatch(found["name"])
        if not in_link and not reserved:
            yield found.span()


def cards_in(text: str) -> Iterator[Span]:
    """Where payment cards' numbers stand: a network's prefix and length, Luhn's check digit, groups as printed."""
    for found in _CARD.finditer(text):
        digits = re.sub(r"[ -]", "", found[0])
        groups = "".join(str(len(group)) for group in re.split(r"[ -]", found[0]))
        if (
            _CARD_NETWORKS.fullmatch(digits)
            and luhn.is_valid(digits)
            and (digits == found[0] or groups in _CARD_GROUPS)
            and digits not in _TEST_CARDS
            and not _is_made_up(digits)
        ):
            yield found.span()


def ibans_in(text: str) -> Iterator[Span]:
    """Where bank accounts' numbers stand whose country, length and check digits are right."""
    for found in _IBAN.finditer(text):
        compact = found[0].replace(" ", "")
        if iban_number.is_valid(compact, check_country=False) and compact not in _EXAMPLE_IBANS:
            yield found.span()


def social_security_numbers_in(text: str) -> Iterator[Span]:
    """Where social security numbers of the United States stand, written with hyphens, or with spaces and named."""
    for found in _SSN.finditer(text):
        number = re.sub(" ", "-", found[0])
        named = found[1] == "-" or _SSN_NAMED.search(text)
        if named and social_security.is_valid(number) and number not in _EXAMPLE_SSNS:
            yield found.span()


def phones_in(text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    """Where telephone numbers of people stand: with a country code, or grouped as in one of the regions."""
    for found in _PHONE.finditer(text):
        if "+" in found[0]:
            span = _phone(found[0], None)
        elif _MIN_GROUPS <= len(_GROUP.findall(found[0])) <= _MOST_GROUPS and not _DATE_OR_ADDRESS.match(found[0]):
            span = next(filter(None, (_phone(found[0], each) for each in regions)), None)
        else:
            span = None
        if span is not None:
            yield found.start() + span[0], found.start() + span[1]


def addresses_in(text: str) -> Iterator[Span]:
    """Where public IPv4 addresses stand; private, reserved and documentation ranges are left out."""
    for found in _IP.finditer(text):
        if found[0] not in _PUBLIC_RESOLVERS and _is_public(found[0]):
            yield found.span()


def _phone(candidate: str, region: str | None) -> Span | None:
    for match in PhoneNumberMatcher(candidate, region, Leniency.STRICT_GROUPING):
        digits = f"{match.number.country_code}{match.number.national_number}"
        if not (_is_organisation(match.number) or _FICTIONAL.fullmatch(digits) or _is_made_up(digits)):
            return match.start, match.end
    return None


def _is_organisation(number: PhoneNumber) -> bool:
    return number_type(number) in _NOT_PERSONAL


def _is_made_up(digits: str) -> bool:
    return len(set(digits)) <= 3 or _COUNTED.search(digits) is not None


def _is_public(address: str) -> bool:
    try:
        return ipaddress.IPv4Address(address).is_global
    except ValueError:
        return False
