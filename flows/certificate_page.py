"""Certificates and changed rows as a person reads them in the terminal: one screen."""

from collections.abc import Iterator
from typing import Any

from rich.table import Table
from rich.text import Text

from flows import terminal
from flows.certificate import Certificate, Place, Step
from flows.row_changes import RowChanges

_STYLES = {
    "read": "green", "kept": "green", "shown": "green", "packed": "green", "trained": "bold green",
    "held out": "blue", "measured": "bold blue",
    "dropped": "bold red", "rejected": "bold red", "not reached": "yellow",
}  # fmt: skip
_EXCERPT_CHARACTERS = 320
_MOST_NAMED = 4
_ID_CHARACTERS = 12


def show_certificate(certificate: Certificate) -> None:
    """Who the row is, what each stage made of it, where else it stands, and how it reads."""
    first, *others = certificate.places
    head = Text()
    head.append(certificate.id or "a row that could not be read", style="bold")
    head.append(f"   {first.named}")
    side = {"train": "training side", "heldout": "held-out side"}.get(
        first.split, first.split and f"{first.split} side"
    )
    head.append("".join(f"   {word}" for word in (certificate.role, side) if word), style="cyan")
    terminal.console.print(head)
    terminal.console.print(Text(f"in run {certificate.run} of {certificate.recipe_name}\n", style="dim"))
    terminal.console.print(_steps(first), soft_wrap=False)
    if others:
        more = "one more place" if len(others) == 1 else f"{len(others):,} more places"
        terminal.console.print(Text(f"\nthe same content stands in {more}", style="dim"))
        terminal.console.print(_places(others), soft_wrap=False)
    terminal.console.print()
    terminal.console.print(_texts(certificate), soft_wrap=False)


def _grid() -> Table:
    return Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))


def _steps(place: Place) -> Table:
    table = _grid()
    for step in place.steps:
        told = Text("; ".join(_sentences(step)))
        table.add_row(Text(step.stage, style="bold"), Text(step.verdict, style=_STYLES[step.verdict]), told)
    return table


def _sentences(step: Step) -> Iterator[str]:
    yield from (_plain(text) for text in (step.reason, step.evidence) if text)
    details = step.details
    if details.get("split") == "train":
        yield "for training"
    if details.get("split") == "heldout":
        yield "held out before any filter saw it"
    if "passed" in details:
        yield f"passed the filters {', '.join(details['passed'])}"
        yield f"prompt {details['prompt_tokens']:,} and answer {details['answer_tokens']:,} tokens"
        yield from (f"flagged as {flag}" for flag in ("refusal", "truncated") if details.get(flag))
        if details.get("personal"):
            yield f"holds {', '.join(details['personal'])}"
    if "dropped_for_it" in details:
        copies = _some([_copy(each) for each in details["copies"]])
        yield f"{details['dropped_for_it']:,} dropped in favour of it: {copies}"
    if "copies" in details and step.verdict == "shown":
        yield f"{details['copies']:,} {'time' if details['copies'] == 1 else 'times'} in each epoch"
    if details.get("sequences"):
        yield _packed(details["sequences"], step.verdict == "held out")
    if "times" in details:
        yield f"{details['times']:g} times in all, over {details['epochs']:g} epochs".replace(" 1 epochs", " 1 epoch")
    if step.verdict == "measured" and details:
        yield (
            "loss "
            + ", ".join(f"{name.split('_')[0]} {details[name]:.3f}" for name in sorted(details))
            + " nats a token"
        )


def _copy(each: dict[str, Any]) -> str:
    return each["place"] if each["similarity"] is None else f"{each['place']} ({each['similarity']:.3f})"


def _packed(sequences: list[dict[str, int]], held_out: bool) -> str:
    first = sequences[0]
    named = _some([f"{each['sequence']:,} (from token {each['first_token']:,})" for each in sequences])
    where = "held-out row" if held_out else "sequence" if len(sequences) == 1 else "sequences"
    return f"{where} {named}; {first['tokens']:,} tokens, {first['trained_tokens']:,} of them trained"


def _some(named: list[str]) -> str:
    more = len(named) - _MOST_NAMED
    return ", ".join(named[:_MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _places(places: list[Place]) -> Table:
    table = _grid()
    for place in places[:_MOST_NAMED]:
        end = place.steps[-1]
        told = _plain(": ".join(text for text in (end.reason, end.evidence) if text))
        table.add_row(place.named, end.stage, Text(end.verdict, style=_STYLES[end.verdict]), Text(told))
    if len(places) > _MOST_NAMED:
        table.add_row(Text(f"and {len(places) - _MOST_NAMED:,} more (--json lists them)", style="dim"))
    return table


def _texts(certificate: Certificate) -> Table:
    table = _grid()
    for name in ("prompt", "answer", "raw"):
        text = _plain(getattr(certificate, name))
        if text:
            cut = text if len(text) <= _EXCERPT_CHARACTERS else f"{text[:_EXCERPT_CHARACTERS]}…"
            table.add_row(Text("begins" if name == "raw" else name, style="dim"), Text(cut))
    return table


def _plain(text: str) -> str:
    """One line without anything that could steer the terminal."""
    return "".join(character if character.isprintable() else " " for character in " ".join(text.split()))


def show_row_changes(changes: RowChanges) -> None:
    """How many rows entered and left training, by source and reason, and those that were asked for."""
    counts = f"rows: {changes.entered:,} entered training, {changes.left:,} left"
    more = f"; {changes.shown_more:,} are shown more often, {changes.shown_less:,} less"
    terminal.console.print(f"\n{counts}{more if changes.shown_more or changes.shown_less else ''}", markup=False)
    if changes.groups:
        terminal.show_table([_flat(group.model_dump(), before=group.direction) for group in changes.groups])
    if changes.rows:
        terminal.console.print()
        terminal.show_table([_flat(row.model_dump(), before=row.direction) for row in changes.rows])
    if changes.groups:
        terminal.console.print(Text("\nfettle show ID tells a row's whole way", style="dim"))


def _flat(row: dict[str, Any], before: str) -> dict[str, object]:
    """A change as a row of a table; the reason says which run it was in."""
    kept_out = f"{'before' if before == 'entered' else 'now'}: {row.pop('reason')} ({row.pop('stage')})"
    shown = {key: _plain(value) if isinstance(value, str) else value for key, value in row.items()}
    for name in ("id", "example"):
        if name in shown:
            shown[name] = shown[name][:_ID_CHARACTERS]
    return {**shown, "why": kept_out}
