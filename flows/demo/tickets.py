"""Write a small labelled CSV, as a support team might export it: `text,label`, with the faults that such files have."""

import csv
from pathlib import Path
from random import Random

FILE = "tickets.csv"
ROWS_PER_LABEL = 160
_SEED = 11
_OPENINGS = ("", "Hello, ", "Hi there, ", "Please help: ", "Good morning. ", "Question: ", "I need help, ")
_ENDINGS = ("", " Thanks!", " Please reply soon.", " It is urgent.", " What can I do?", " Can you look into it?")
_TOPICS = {
    "card": (
        ("my card", "the debit card", "my new card", "the card you sent", "my credit card"),
        (
            "was swallowed by a cash machine",
            "has not arrived by post",
            "is declined in every shop",
            "was stolen on {day}",
            "does not work abroad",
            "has a wrong name on it",
            "expires in {month}",
            "is blocked since {day}",
        ),
    ),
    "loan": (
        ("my loan", "the mortgage", "my car loan", "the loan I asked for", "our credit line"),
        (
            "has a rate that I do not understand",
            "should be paid back early",
            "was refused on {day}",
            "needs a lower monthly rate",
            "is paid back in {month}",
            "has no contract yet",
            "was charged twice this month",
            "should be prolonged until {month}",
        ),
    ),
    "transfer": (
        (
            "my transfer",
            "the payment to my landlord",
            "a transfer abroad",
            "the money I sent on {day}",
            "my standing order",
        ),
        (
            "has not arrived",
            "went to a wrong account number",
            "was booked twice",
            "must be stopped at once",
            "costs a fee that nobody told me",
            "is pending since {day}",
            "came back without a reason",
            "should start in {month}",
        ),
    ),
    "app": (
        ("the app", "your mobile app", "the login page", "online banking", "the new version of the app"),
        (
            "does not open since {day}",
            "shows a blank screen",
            "asks for a code that never comes",
            "logs me out each minute",
            "cannot read my fingerprint",
            "crashes when I scroll",
            "lost my settings",
            "is in the wrong language",
        ),
    ),
    "account": (
        ("my account", "our joint account", "the savings account", "my address in your files", "my customer number"),
        (
            "should be closed in {month}",
            "needs a second owner",
            "shows a wrong balance",
            "has a fee since {month}",
            "must be changed, I moved on {day}",
            "gets no interest this year",
            "is still in my old name",
            "needs a new statement for {month}",
        ),
    ),
}
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "the weekend")
_MONTHS = ("January", "March", "May", "July", "September", "November")


def ticket_rows() -> list[tuple[str, str]]:
    """Texts and labels; ten contradict others, five have no label, three no text, and some stand twice."""
    random = Random(_SEED)  # noqa: S311 # made data
    rows = [(_text(random, label), label) for label in _TOPICS for _ in range(ROWS_PER_LABEL)]
    others = {label: next(each for each in _TOPICS if each != label) for label in _TOPICS}
    rows += [(text, others[label]) for text, label in random.sample(rows, 10)]
    rows += [(_text(random, label), "") for label in _TOPICS]
    rows += [("", label) for label in ("card", "loan", "app")]
    random.shuffle(rows)
    return rows


def write_tickets(folder: Path) -> Path:
    """Write the file; gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(ticket_rows())
    return folder / FILE


def _text(random: Random, label: str) -> str:
    subjects, complaints = _TOPICS[label]
    said = f"{random.choice(subjects)} {random.choice(complaints)}"
    said = said.format(day=random.choice(_DAYS), month=random.choice(_MONTHS)) if "{" in said else said
    opening, ending = random.choice(_OPENINGS), random.choice(_ENDINGS)
    return f"{opening}{said if opening.endswith(', ') else said[0].upper() + said[1:]}.{ending}"
