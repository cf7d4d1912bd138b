"""Code rows: small tasks, and the few lines that solve them."""

from collections.abc import Iterator
from random import Random

from flows.demo.domain import take
from flows.demo.rows import Apart, Row, single

ROWS = 420

_NOUNS = ("fees", "refunds", "clients", "orders", "cards", "loans", "invoices", "payouts", "deposits", "rates")
_FIELDS = ("amount", "status", "country", "owner", "currency", "level", "month", "branch", "score", "kind")
_VERBS = ("collect", "filter", "gather", "select", "find", "keep", "pick")
_ASKS = (
    "Write {} code that {}.",
    "In {}, please {}.",
    "Show me a short {} example that {}.",
    "I need some {} that {}.",
    "Using {}, write something that {}.",
    "Give me {} which {}.",
)
_REMARKS = (
    "Here is one way:",
    "This does it:",
    "A short version:",
    "Try this:",
    "You can write:",
    "These lines are enough:",
)

# language, what it does, the code; {n} and {m} are nouns, {f} and {g} fields, {v} a verb, {k} a number
_TASKS = (
    ("python", "adds {k} to every item in {n}", "{n} = [item + {k} for item in {n}]\nprint({n})"),
    ("python", "sums the {f} of all {n}", "def sum_{n}({n}):\n    return sum(item.{f} for item in {n})"),
    ("python", "counts {n} by {f}", "from collections import Counter\n\nby_{f} = Counter(item.{f} for item in {n})"),
    ("python", "sorts {n} by {f} and then {g}", "{n}.sort(key=lambda item: (item.{f}, item.{g}))"),
    ("python", "loads {n} from a file", 'with open("{n}.txt") as lines:\n    {n} = [line.strip() for line in lines]'),
    (
        "python",
        "checks that the {f} is above {k}",
        "def check_{f}({f}):\n    if {f} <= {k}:\n        raise ValueError({f})\n    return {f}",
    ),
    ("sql", "shows the {f} of the {k} newest {n}", "SELECT {f} FROM {n} ORDER BY created DESC LIMIT {k};"),
    ("sql", "counts {n} for each {f}", "SELECT {f}, COUNT(*) FROM {n} GROUP BY {f};"),
    ("sql", "joins {n} with {m} on {f}", "SELECT * FROM {n} JOIN {m} ON {n}.{f} = {m}.{f};"),
    ("sql", "deletes {n} whose {f} is below {k}", "DELETE FROM {n} WHERE {f} < {k};"),
    ("bash", "counts the lines in {n} files", "wc -l {n}/*.csv"),
    ("bash", "finds {k} in the {n} folder", "grep -rn {k} ./{n}"),
    ("javascript", "maps {n} to their {f}", "const {f}s = {n}.map((item) => item.{f});"),
    (
        "javascript",
        "keeps {n} with {f} over {k}",
        "function {v}({n}) {{\n  return {n}.filter((item) => item.{f} > {k});\n}}",
    ),
    ("javascript", "logs every {f} in {n}", "for (const item of {n}) {{\n  console.log(item.{f});\n}}"),
)


def snippets(random: Random) -> Iterator[Row]:
    """Endless code rows; the answer ends with its code fence."""
    while True:
        language, purpose, code = random.choice(_TASKS)
        noun, other = random.sample(_NOUNS, 2)
        field, second = random.sample(_FIELDS, 2)
        names = {"n": noun, "m": other, "f": field, "g": second, "v": random.choice(_VERBS), "k": random.randint(2, 99)}
        prompt = random.choice(_ASKS).format(language, purpose.format(**names))
        yield single(prompt, f"{random.choice(_REMARKS)}\n```{language}\n{code.format(**names)}\n```")


def code_rows(random: Random, apart: Apart) -> list[Row]:
    """All good code rows."""
    return take(snippets(random), ROWS, apart)
