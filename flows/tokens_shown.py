"""A row as it is trained: its tokens, which of them are trained, and where it lies among the sequences."""

from collections.abc import Iterator, Mapping, Sequence

import polars as pl
from rich.style import Style
from rich.text import Text

from flows import terminal
from flows.certificate import Certificate, RowNotFoundError, Trail, certify, samples_of
from tasks.algorithms.tokens.masking import NOT_TRAINED
from tasks.artifacts import runs
from tasks.artifacts.store import Store
from tasks.config import Config
from tasks.reporting.masks import TokenFacts, pieces

_MOST_NAMED = 6
_PIECE_OF_WORD, _WORD_START = "##", "▁"


class Where(Config):
    """Where a text lies among the sequences, counted from 0."""

    sequence: int
    first_token: int


class Shown(Config):
    """One text of a row, or a piece of one."""

    tokens: tuple[TokenFacts, ...]
    trained_tokens: int
    copies: tuple[Where, ...]
    """Everywhere it is trained."""


class TokensShown(Config):
    """A row's texts as they are trained; several where the template rewrites history, or where one was split."""

    run: str
    id: str
    place: str
    held_out: bool
    tokens: int
    """Of all its texts, before they were cut or split."""
    kept: int
    """Of them, those that are used."""
    texts: tuple[Shown, ...]


def tokens_of(store: Store, text: str, run_id: str | None = None) -> TokensShown:
    """The tokens of a row that is named by its id, its beginning or its place. Raises `RowNotFoundError`."""
    certificate = certify(store, text, run_id)
    place = certificate.places[0]
    run = runs.find(store, certificate.run)
    reached = next((step for step in place.steps if step.stage == "tokenization"), None)
    if run is None or certificate.id is None or reached is None or reached.verdict not in ("packed", "held out"):
        raise RowNotFoundError(_where_it_stopped(certificate, text))
    trail = Trail(store, run)
    held_out = reached.verdict == "held out"
    found = list(_samples(trail, "heldout" if held_out else "sequences", certificate.id))
    if not found:
        raise RowNotFoundError(f"row {certificate.id} is in no sequence of run {run.id}, as it was not shown in it")
    cut = next(trail.rows("tokenization", "cut", pl.col("id") == certificate.id, "id", ["id", "tokens", "kept"]), None)
    vocabulary = _vocabulary(trail, {int(token) for ids, _, _ in found for token in ids})
    texts = tuple(_texts(found, vocabulary))
    whole = sum(len(each.tokens) for each in texts)
    return TokensShown(
        tokens=cut["tokens"] if cut else whole,
        kept=cut["kept"] if cut else whole,
        run=run.id,
        id=certificate.id,
        place=place.named,
        held_out=held_out,
        texts=texts,
    )


def _where_it_stopped(certificate: Certificate, text: str) -> str:
    step = certificate.places[0].steps[-1]
    told = ": ".join(part for part in (step.reason, step.evidence) if part)
    return (
        f"row {certificate.id or text} has no tokens in run {certificate.run}: {step.stage} says {step.verdict}"
        f"{f', {told:.200}' if told else ''}"
    )


_Sample = tuple[tuple[int, ...], tuple[bool, ...], Where]


def _samples(trail: Trail, table: str, row_id: str) -> Iterator[_Sample]:
    for row, _, begin, end in samples_of(trail, table, row_id, ["input_ids", "labels"]):
        trained = tuple(label != NOT_TRAINED for label in row["labels"][begin:end])
        yield tuple(row["input_ids"][begin:end]), trained, Where(sequence=row["number"], first_token=begin)


def _vocabulary(trail: Trail, ids: set[int]) -> dict[int, tuple[bytes, bool]]:
    """What the ids stand for, and whether they are control tokens."""
    return {
        number: (text if spells or special else _as_text(text.decode(errors="replace")).encode(), special)
        for frame in trail.frames("tokenization", "vocabulary", ["id", "text", "special", "spells"])
        for number, text, special, spells in frame.filter(pl.col("id").is_in(ids) | pl.col("special")).iter_rows()
    }


def _as_text(name: str) -> str:
    if name.startswith(_PIECE_OF_WORD):
        return name.removeprefix(_PIECE_OF_WORD)
    return name.replace(_WORD_START, " ") if _WORD_START in name else f" {name}"


def _texts(found: Sequence[_Sample], vocabulary: Mapping[int, tuple[bytes, bool]]) -> Iterator[Shown]:
    """Each distinct text once, the shortest first, as templates that rewrite history give them."""
    places: dict[tuple[tuple[int, ...], tuple[bool, ...]], list[Where]] = {}
    for ids, trained, where in found:
        places.setdefault((ids, trained), []).append(where)
    for (ids, trained), copies in sorted(places.items(), key=lambda entry: len(entry[0][0])):
        tokens = tuple(_tokens(ids, trained, vocabulary))
        yield Shown(tokens=tokens, trained_tokens=sum(trained), copies=tuple(copies))


def _tokens(
    ids: Sequence[int], trained: Sequence[bool], vocabulary: Mapping[int, tuple[bytes, bool]]
) -> Iterator[TokenFacts]:
    spelt = [vocabulary[each] for each in ids]
    plain = _spell_controls(spelt, {text for text, special in vocabulary.values() if special and text})
    rest = b""
    for at, (text, special) in enumerate(spelt):
        # A character whose bytes are several tokens stands with the last of them.
        shown, rest = _whole_characters(rest + text, at + 1 == len(spelt))
        yield TokenFacts(id=ids[at], text=shown, trained=trained[at], special=special, plain=plain[at])


def _whole_characters(data: bytes, is_last: bool) -> tuple[str, bytes]:
    for kept in range(0 if is_last else 3, -1, -1):
        head, tail = data[: len(data) - kept], data[len(data) - kept :]
        if kept and not _begins_character(tail):
            continue
        return head.decode(errors="replace"), tail
    raise AssertionError("with nothing kept, all is shown")


def _begins_character(tail: bytes) -> bool:
    """Whether some bytes are the beginning of a longer character."""
    first = tail[:1]
    size = 4 if first >= b"\xf0" else 3 if first >= b"\xe0" else 2 if first >= b"\xc2" else 1
    return len(tail) < size and all(0x80 <= byte < 0xC0 for byte in tail[1:])


def _spell_controls(spelt: Sequence[tuple[bytes, bool]], controls: set[bytes]) -> list[bool]:
    """Which tokens belong to text that spells a control token without being one."""
    whole = b"".join(text for text, _ in spelt)
    begins = [0]
    for text, _ in spelt:
        begins.append(begins[-1] + len(text))
    hits = [(at, at + len(control)) for control in controls for at in _places(whole, control)]
    return [
        not special and any(begins[at] < end and begins[at + 1] > begin for begin, end in hits)
        for at, (_, special) in enumerate(spelt)
    ]


def _places(whole: bytes, part: bytes) -> Iterator[int]:
    at = whole.find(part)
    while at >= 0:
        yield at
        at = whole.find(part, at + 1)


def show_tokens(row: TokensShown) -> None:
    """The row in the terminal: trained tokens bright, given ones dim, control tokens reversed."""
    head = Text(row.id, style="bold")
    head.append(f"   {_plain(row.place)}", style="not bold")
    head.append("   held-out side" if row.held_out else "   training side", style="not bold cyan")
    terminal.console.print(head)
    terminal.console.print(Text(f"in run {row.run}", style="dim"))
    if row.kept < row.tokens:
        told = f"too long: {row.kept:,} of its {row.tokens:,} tokens are used (tokenization.too_long, max_length)"
        terminal.console.print(Text(told, style="yellow"))
    for number, text in enumerate(row.texts, start=1):
        counted = f"{len(text.tokens):,} tokens, {text.trained_tokens:,} trained"
        share = f" ({text.trained_tokens / len(text.tokens):.1%})"
        which = f"text {number} of {len(row.texts)}: " if len(row.texts) > 1 else ""
        terminal.console.print(Text(f"\n{which}{counted}{share}; {_lies(text, row.held_out)}\n", style="dim"))
        terminal.console.print(_coloured(text.tokens))


def _lies(text: Shown, held_out: bool) -> str:
    """Where a text lies, and how often."""
    places = [f"{each.sequence:,} (from token {each.first_token:,})" for each in text.copies[:_MOST_NAMED]]
    more = len(text.copies) - _MOST_NAMED
    named = ", ".join(places) + (f" and {more:,} more" if more > 0 else "")
    word = "held-out row" if held_out else "sequence" if len(text.copies) == 1 else "sequences"
    copies = f"{len(text.copies):,} copies in " if len(text.copies) > 1 else ""
    return f"{copies}{word} {named}"


def _coloured(tokens: Sequence[TokenFacts]) -> Text:
    """The text; with signs around what is trained where there are no colours."""
    bare = terminal.console.no_color or terminal.console.color_system is None
    made, trained = Text(), False
    for token in tokens:
        if bare and token.trained != trained:
            made.append("⟦" if token.trained else "⟧")
        trained = token.trained
        style = Style.parse("bold green" if token.trained else "dim")
        style += Style(reverse=token.special or None, underline=token.plain or None)
        parts = [part for _, part in pieces(token.text)] if token.text.strip(" ") else [token.text]
        made.append("".join(parts), style=style)
    return made.append("⟧") if bare and trained else made


def _plain(text: str) -> str:
    return "".join("".join(part for _, part in pieces(text)).splitlines())
