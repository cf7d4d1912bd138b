"""Keys, tokens and passwords in texts, by the shapes that their issuers document, and by assignments of random text."""

import math
import re
from collections import Counter
from collections.abc import Iterator

Span = tuple[int, int]

_ISSUED = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"(?:AKIA|ASIA)[A-Z0-9]{16}"  # Amazon
    r"|gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{36,255}|glpat-[A-Za-z0-9_-]{20,64}"  # GitHub, GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,250}"  # Slack
    r"|AIza[A-Za-z0-9_-]{35}"  # Google
    r"|sk-(?:[a-z]+[0-9]*-)*[A-Za-z0-9_-]{20,250}|hf_[A-Za-z0-9]{30,64}"  # OpenAI, Anthropic, Hugging Face
    r"|[sr]k_live_[A-Za-z0-9]{16,250}|SG\.[A-Za-z0-9_-]{16,64}\.[A-Za-z0-9_-]{16,64}"  # Stripe, SendGrid
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50,250}"
    r"|eyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10,4096}"  # JSON web tokens
    r")(?![A-Za-z0-9_])"
)
_PREFIXES = (
    *("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "AIza"),
    *("sk-", "hf_", "k_live_", "SG.", "npm_", "pypi-", "eyJ"),
)
"""One of them stands in each; a plain search for them is ten times as fast."""
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----(?P<body>[^-]{64,20000})"
    r"(?:-----END [A-Z0-9 ]{1,40}-----)?"
)
_NAMES = (
    r"(?:(?:[Aa]pi|API|[Aa]ccess|ACCESS|[Aa]ccount|ACCOUNT|[Pp]rivate|PRIVATE|[Ee]ncryption|ENCRYPTION)[_-]?(?:[Kk]ey|KEY)"
    r"|[Ss]ecret|SECRET|[Tt]oken|TOKEN|[Pp]assw|PASSW|[Pp]wd|PWD|[Aa]uth|AUTH)[A-Za-z0-9_-]{0,20}"
)
_NAME_OF_A_SECRET = re.compile(_NAMES + r"[\"']?[ \t]{0,3}$")
_ASSIGNED = re.compile(r"(?:=>|:=|[:=])[ \t]{0,3}[\"'](?P<value>[^\s\"':\\]{16,250})[\"']")
_NAME_CHARACTERS = 40
_IN_ADDRESS = re.compile(r"[a-z][a-z0-9+]{1,15}://[^\s:/@\"'<>]{1,64}:(?P<value>[^\s:/@\"'<>]{6,128})@[A-Za-z0-9]")

MAY_HOLD_ONE = (
    r"AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|xox[abeoprs]-|AIza|sk-[A-Za-z0-9_-]{20}|hf_[A-Za-z0-9]{30}|[sr]k_live_"
    r"|SG\.[A-Za-z0-9_-]{16}|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{50}|\.eyJ|PRIVATE KEY"
)
"""What each issued key and each block holds, in Rust's syntax."""
MAY_ASSIGN_ONE = _NAMES + r"\\?[\"']?[ \t]{0,3}[:=]>?=?[ \t]{0,3}\\?[\"'][^\s\"']"
"""What each assignment holds; in the text of a tool's call the quotes are escaped."""

_PLACEHOLDER = re.compile(
    r"example|sample|dummy|placeholder|change_?me|your|insert|replace|redacted|secret|password|\bmy[_-]|test|xxx|\.\.\."
    r"|\*\*|012345|123456|abcdef|[<>{}$%()\[\]]|s3cr3t|p@ss",
    re.I,
)
"""What people write who show where a secret belongs."""
_KNOWN_EXAMPLES = ("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwi",)
"""The token of jwt.io."""
_MIN_BITS_PER_CHARACTER = 3.2


def secrets_in(text: str) -> Iterator[Span]:
    """Where keys, tokens, private keys and passwords stand that look real; placeholders are left out."""
    for found in _ISSUED.finditer(text) if any(map(text.__contains__, _PREFIXES)) else ():
        # The part after the issuer's prefix is random; in words and in rows of x it is not.
        if not _is_placeholder(found[0]) and _is_random(found[0]):
            yield found.span()
    for found in _PRIVATE_KEY.finditer(text):
        if not _is_placeholder(found["body"]):
            yield found.span()
    for found in _ASSIGNED.finditer(text):
        named = _NAME_OF_A_SECRET.search(text[max(0, found.start() - _NAME_CHARACTERS) : found.start()])
        if named and not _is_placeholder(found["value"]) and _is_random(found["value"]):
            yield found.span("value")
    for found in _IN_ADDRESS.finditer(text) if "://" in text else ():
        if not _is_placeholder(found["value"]) and _has_digit_and_letter(found["value"]):
            yield found.span("value")


def _is_placeholder(value: str) -> bool:
    return _PLACEHOLDER.search(value) is not None or value.startswith(_KNOWN_EXAMPLES)


def _is_random(value: str) -> bool:
    """Whether letters and digits are mixed as in random text, by the entropy of the characters (bits)."""
    counts = Counter(value)
    bits = -sum(count / len(value) * math.log2(count / len(value)) for count in counts.values())
    return _has_digit_and_letter(value) and bits >= _MIN_BITS_PER_CHARACTER


def _has_digit_and_letter(value: str) -> bool:
    return any(each.isdigit() for each in value) and any(each.isalpha() for each in value)
