"""Conversations taken to token ids whose masks are proven, batch by batch, on disk; and what is told of them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.chat.renderer import Renderer
from tasks.algorithms.chat.rendering import ChatTemplate, Trained
from tasks.algorithms.chat.template_check import Held, check_template
from tasks.algorithms.masks.examples import SAMPLES, SampleRows
from tasks.algorithms.masks.figures import MaskFigures
from tasks.algorithms.masks.proof import Proof, prove
from tasks.algorithms.masks.vocabulary import vocabulary_of
from tasks.algorithms.tokens.arrays import Flags, Places, Rendered, Tokens
from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.algorithms.tokens.masking import trained_tokens
from tasks.algorithms.tokens.samples import Pieces, Samples, TooLong
from tasks.artifacts.manifest import Artifact
from tasks.artifacts.store import Attempt
from tasks.conversation import DROPPED
from tasks.reporting import masks

VOCABULARY = pa.schema([("id", pa.int32()), ("text", pa.binary()), ("special", pa.bool_()), ("spells", pa.bool_())])
"""What the ids of the artifact stand for, and all control tokens: the bytes that an id spells, or, where the tokenizer
changes texts (`spells` is false), its name."""
_ORIGIN = list(DROPPED)[:5]
CUT = pa.schema([*_ORIGIN, ("tokens", pa.int64()), ("kept", pa.int64()), ("parts", pa.int64())])
"""Conversations in use that lost some of their tokens, or were split: all their tokens, those that are kept, and in how
many parts they lie."""
HEAD = pa.schema([*_ORIGIN, ("role", pa.string()), ("copies", pa.int64())])
"""What is kept of a conversation besides its tokens: where it comes from, the part it plays, and how often."""
ControlTokens = Literal["neutralise", "drop", "keep"]
_ROWS_PER_BATCH = 4096
_NOTHING, _TOO_LONG, _UNSHOWN = "no trainable token", "too long", "tool call not in the chat template"
_REFUSED, _SPELLED, _UNPROVEN = "refused by the chat template", "control token in the text", "mask not proven"
ADVICE = {
    _NOTHING: "a greater tokenization.max_length keeps those that are too long",
    _TOO_LONG: "a greater tokenization.max_length, or another tokenization.too_long, keeps them",
    _UNSHOWN: "a chat template that writes calls keeps them",
    _REFUSED: "a chat template that writes what they hold keeps them",
    _SPELLED: "tokenization.control_tokens: neutralise keeps them as text",
    _UNPROVEN: "look at the evidence of some; another chat template may keep them",
}
"""What keeps rows that are dropped for a reason."""
_MOST_FAULTS = 3
_FEWEST_ENDS, _LEAST_SHARE_OF_ENDS = 3, 0.01
"""Rarer ends are rather accidents of a row than what the template ends answers with."""


class MaskError(Exception):
    """Too many rows would be trained on something else than what the assistant said."""


@dataclass
class Side:
    """The mixture or the held-out side, tokenised."""

    rows: pa.Table
    """Id, split and origin of each conversation, and how often it is shown."""
    samples: Samples
    row: Places
    """The conversation of each sample."""
    gone: dict[int, tuple[str, str]]
    """Conversations that are not used, with reason and evidence."""
    one_text: bool = False
    """Whether of each conversation only the last text is used, the one with its last answer."""
    pieces: Pieces = field(init=False)

    @cached_property
    def _meant(self) -> Flags:
        """Which samples are to be used as far as they fit."""
        last = np.append(self.row[1:] != self.row[:-1], True)[: len(self.row)]
        return last if self.one_text else np.ones(len(self.row), dtype=np.bool_)

    @property
    def lengths(self) -> Places:
        """Tokens of each text that may be used."""
        return self.samples.lengths[self._usable()]

    def _usable(self) -> Flags:
        return self._meant & ~np.isin(self.row, np.fromiter(self.gone, np.int64))

    @cached_property
    def ids(self) -> pa.Array:
        """The conversation of each sample, by its id."""
        return self.rows["id"].combine_chunks().dictionary_encode().take(pa.array(self.row))

    @cached_property
    def roles(self) -> pa.Array:
        """The role in the mixture of each sample's conversation."""
        return self.rows["role"].combine_chunks().dictionary_encode().take(pa.array(self.row))

    def cut(self, most: int, too_long: TooLong) -> None:
        """Keep what fits; a conversation of which nothing is left is gone."""
        if self.one_text and too_long == "split":
            too_long = "cut"  # a part without its question is no measure, so only the first is used
        pieces = self.samples.cut(most, too_long)
        self.pieces = pieces.chosen(self._usable()[pieces.sample])
        used = np.bincount(self.row[self.pieces.sample], minlength=self.rows.num_rows)
        longest = np.zeros(self.rows.num_rows, dtype=np.int64)
        np.maximum.at(longest, self.row, self.samples.lengths)
        for row in np.flatnonzero(used == 0).tolist():
            if row not in self.gone:
                self.gone[row] = _nothing_left(int(longest[row]), most, too_long)

    @cached_property
    def cut_rows(self) -> pa.Table:
        """Those in use that lost some of their tokens, or were split, as `CUT` has them."""
        count = self.rows.num_rows
        row = self.row[self.pieces.sample]
        tokens = np.bincount(self.row, self.samples.lengths * self._meant, count).astype(np.int64)
        kept = np.bincount(row, self.pieces.lengths, count).astype(np.int64)
        parts, texts = np.bincount(row, minlength=count), np.bincount(self.row[self._meant], minlength=count)
        cut = np.flatnonzero((parts > 0) & ((kept < tokens) | (parts > texts)))
        columns = self.rows.select(CUT.names[: len(_ORIGIN)]).take(pa.array(cut)).columns
        figures = [pa.array(each[cut], pa.int64()) for each in (tokens, kept, parts)]
        return pa.Table.from_arrays([*columns, *figures], schema=CUT)

    @cached_property
    def lost_texts(self) -> int:
        """Texts of conversations in use of which nothing is left: each held an answer."""
        used = np.bincount(self.pieces.sample, minlength=len(self.row)) > 0
        in_use = np.bincount(self.row[self.pieces.sample], minlength=self.rows.num_rows) > 0
        return int((in_use[self.row] & self._meant & ~used).sum())


class Reading:
    """Takes conversations to proven samples, and keeps what is told of them."""

    def __init__(
        self, out: Attempt, encoder: TextEncoder, template: ChatTemplate, choice: Trained, control_tokens: ControlTokens
    ) -> None:
        check_template(template, ())
        self.out, self.encoder, self.template, self.choice = out, encoder, template, choice
        self.control_tokens = control_tokens
        special, added = ((), ()) if control_tokens == "keep" else (encoder.special, encoder.added)
        self._render = Renderer(template, choice, special=special, added=added)
        self._vocabulary = vocabulary_of(encoder.tokenizer, encoder.spelling)
        self._added_ids = np.array(sorted(encoder.tokenizer.get_added_tokens_decoder()), dtype=np.int32)
        control = [number for each in encoder.special if (number := encoder.tokenizer.token_to_id(each)) is not None]
        self._figures, self._shown = MaskFigures(), SampleRows(control)
        self.control = set(control)
        highest = max(encoder.tokenizer.get_vocab(with_added_tokens=True).values())
        self._used = np.zeros(highest + 1, dtype=np.bool_)
        self.rendered_rows = self.unproven = self.unrolled = self.texts_of_unrolled = self.graded_turns = 0
        self.neutralised = Counter[str]()
        self._held: set[Held] = set()
        self.faults: list[str] = []

    def side(self, mixed: Artifact, table: str, *, one_text: bool = False) -> Side:
        """All conversations of a table."""
        samples, rows, places = Samples(), [HEAD.empty_table()], [np.empty(0, dtype=np.int64)]
        gone: dict[int, tuple[str, str]] = {}
        done, total = 0, mixed.tables[table].rows
        for part in self.out.store.tables(mixed, table):
            for batch in part.to_batches(max_chunksize=_ROWS_PER_BATCH):
                rendered, faults = self._take(batch, samples)
                gone |= {done + row: fault for row, fault in faults.items()}
                places.append(rendered.rows + done)
                rows.append(_head(batch))
                done += batch.num_rows
                self.out.progress(done, total, f"{table} rows")
        return Side(pa.concat_tables(rows).combine_chunks(), samples, np.concatenate(places), gone, one_text)

    def _take(self, batch: pa.RecordBatch, samples: Samples) -> tuple[Rendered, dict[int, tuple[str, str]]]:
        """One batch: its texts, and the rows that are not used, with reason and evidence."""
        rendered = self._render(batch)
        tokens = self.encoder.tokens(rendered.texts, rendered.plain)
        trained = trained_tokens(self.encoder.without_spaces(rendered.texts, tokens), rendered.trained)
        messages = batch.column("messages")
        proof = prove(
            *(messages, rendered, tokens, trained, self.encoder.spelling, self.choice, self._added_ids),
            vocabulary=self._vocabulary,
        )
        samples.append(rendered, tokens, trained)
        self._count(batch, rendered, tokens, trained, proof)
        return rendered, self._faults(batch, rendered, proof)

    def _count(self, batch: pa.RecordBatch, rendered: Rendered, tokens: Tokens, trained: Flags, proof: Proof) -> None:
        sources = batch.column("source").take(pa.array(rendered.rows))
        self._figures.add(sources, rendered, tokens, trained, proof)
        self._shown.add(batch, rendered, tokens, trained)
        self._used[tokens.ids] = True
        texts = np.bincount(rendered.rows, minlength=batch.num_rows)
        self.rendered_rows += int((texts > 0).sum())
        self.unrolled += int((texts > 1).sum())
        self.texts_of_unrolled += int(texts[texts > 1].sum())
        spelled = np.unique(rendered.rows[np.diff(rendered.plain.offsets) > 0])
        self._held |= set(_held(batch))
        self.neutralised.update(batch.column("source").take(pa.array(spelled)).to_pylist())
        weights = batch.column("messages").flatten().field("weight")
        graded = pc.and_(pc.not_equal(weights, 0), pc.not_equal(weights, 1))
        self.graded_turns += pc.sum(graded).as_py() or 0

    def _faults(self, batch: pa.RecordBatch, rendered: Rendered, proof: Proof) -> dict[int, tuple[str, str]]:
        gone = {row: (_REFUSED, why) for row, why in rendered.refused.items()}
        if self.control_tokens == "drop":
            for text in np.flatnonzero(np.diff(rendered.plain.offsets)).tolist():
                gone.setdefault(int(rendered.rows[text]), (_SPELLED, _spelled(rendered, text)))
        for text, name in proof.unshown_calls.items():
            why = f"the call of {name} is not in the text; name a chat template that writes calls"
            gone.setdefault(int(rendered.rows[text]), (_UNSHOWN, why))
        faulty = {int(rendered.rows[text]): fault for text, fault in reversed(proof.faults.items())}
        self.unproven += len(faulty)
        for row, fault in sorted(faulty.items()):
            gone.setdefault(row, (_UNPROVEN, fault))
            if len(self.faults) < _MOST_FAULTS:
                source, file, line = (batch.column(name)[row].as_py() for name in ("source", "file", "line"))
                self.faults.append(f"{source} {file}:{line}: {fault}")
        return gone

    def require_proof(self, least: float) -> None:
        """Raise `MaskError` where a smaller share of the rows is proven."""
        proven = self.rendered_rows - self.unproven
        if proven < least * self.rendered_rows:
            raise MaskError(
                f"only {proven:,} of {self.rendered_rows:,} rows are proven to be trained on just what the assistant "
                f"says, and tokenization.min_proven is {least:g}. The tokenizer or the chat template changes the text "
                "in a way that labels cannot follow; name another chat_template, or lower min_proven to drop these "
                "rows. " + "; ".join(self.faults)
            )

    def warnings(self) -> list[str]:
        """What a user should know of the template and of the rows that went through it."""
        told = [*check_template(self.template, self._held), *self.encoder.notes]
        if self.neutralised and self.control_tokens == "neutralise":
            named = ", ".join(f"{source} {number:,}" for source, number in sorted(self.neutralised.items()))
            told.append(
                f"messages of {self.neutralised.total():,} rows spell control tokens ({named}); they stay text. Set "
                "tokenization.control_tokens to drop if such rows are leftovers of another template."
            )
        if self.unproven:
            told.append(
                f"the masks of {self.unproven:,} of {self.rendered_rows:,} rows are not proven, so they are dropped: "
                + "; ".join(self.faults)
            )
        if self.unrolled:
            told.append(
                f"the chat template writes earlier turns of {self.unrolled:,} conversations differently once others "
                f"follow; they became {self.texts_of_unrolled:,} texts, so that each answer is trained as the model "
                "would have to write it."
            )
        if self.graded_turns:
            told.append(
                f"{self.graded_turns:,} turns have a loss weight that is neither 0 nor 1; they are trained with weight "
                "1. Round the weights in the source if that is not what you want."
            )
        return told

    def write_proof(self, sides: Sequence[Side]) -> None:
        """The proof's tables and page."""
        figures, ends, shown = self._figures.table(), self._figures.ends(), self._shown.rows()
        for sample in shown:
            _tell_fate(sample, sides)
        self.out.write("mask_figures", figures)
        self.out.write("mask_ends", ends)
        self.out.write("mask_samples", pa.Table.from_pylist(shown, SAMPLES))
        self.out.write("vocabulary", self._used_ids())
        facts = {"figures": figures.to_pylist(), "ends": ends.to_pylist(), "samples": shown, "faults": self.faults}
        page = masks.MaskPage(rows=self.rendered_rows, proven=self.rendered_rows - self.unproven, **facts)
        self.out.write_file("masks.html", masks.render(page).encode())
        self.out.facts["masks"] = [_in_words(row) for row in figures.to_pylist() if row["turn"] == 0]
        self.out.facts["rows_with_control_tokens"] = self.neutralised.total()
        self.out.facts["conversations_unrolled"] = self.unrolled

    def end_ids(self) -> list[int]:
        """The control tokens that end answers: a model stops at them, whatever its tokenizer's end of sequence is."""
        ends, found = self._figures.ends().to_pylist(), set[int]()
        for each in ends:
            if each["turns"] >= min(_FEWEST_ENDS, _LEAST_SHARE_OF_ENDS * sum(row["turns"] for row in ends)):
                ids = self.encoder.encode([each["end"]])[0].ids
                found.update([token for token in ids if token in self.control][:1])
        return sorted(found)

    def _used_ids(self) -> pa.Table:
        """What each id that occurs stands for, so that rows can be read without the tokenizer."""
        self._used[list(self.control)] = True
        ids = np.flatnonzero(self._used)
        spelling = self.encoder.spelling
        if spelling:
            data, offsets = spelling
            texts = [data[offsets[each] : offsets[each + 1]].tobytes() for each in ids]
        else:
            texts = [(self.encoder.tokenizer.id_to_token(int(each)) or "").encode() for each in ids]
        flags = [[int(each) in self.control for each in ids], [spelling is not None] * len(ids)]
        columns = [pa.array(ids, pa.int32()), pa.array(texts, pa.binary())]
        columns += [pa.array(each, pa.bool_()) for each in flags]
        return pa.Table.from_arrays(columns, schema=VOCABULARY)


def _head(batch: pa.RecordBatch) -> pa.Table:
    """A batch without what is said in it."""
    copies = batch.column("copies") if "copies" in batch.schema.names else pa.array(np.ones(batch.num_rows, np.int64))
    columns = [batch.column(name) for name in HEAD.names[:-1]] + [copies.cast(pa.int64())]
    return pa.Table.from_arrays(columns, schema=HEAD)


def _spelled(rendered: Rendered, text: int) -> str:
    at = int(rendered.plain.offsets[text])
    data = rendered.texts[text].as_py().encode()
    return f"a message spells {data[rendered.plain.begins[at] : rendered.plain.ends[at]].decode()}"


def _nothing_left(longest: int, most: int, too_long: TooLong) -> tuple[str, str]:
    if not longest or longest <= most:
        return _NOTHING, "the assistant says nothing that is trained"
    if too_long == "drop":
        return _TOO_LONG, f"{longest:,} tokens; rows hold {most:,}"
    return (
        _NOTHING,
        f"no {'whole answer' if too_long == 'turn' else 'answer'} in the first {most:,} of {longest:,} tokens",
    )


def _tell_fate(sample: dict[str, Any], sides: Sequence[Side]) -> None:
    """Note on a shown row what training has of it."""
    for side in sides:
        for place in np.flatnonzero(pc.equal(side.rows["id"], sample["row_id"]).to_numpy()).tolist():
            if place in side.gone:
                sample["note"] = f"dropped: {side.gone[place][0]}"
                continue
            copies = side.rows["copies"][place].as_py()
            told = [f"shown {copies:,} times" if copies > 1 else "shown once"] if sample["split"] == "train" else []
            kept = [_kept(side, text) for text in np.flatnonzero(side.row == place).tolist()]
            sample["kept"] = [most for most, _ in kept]
            sample["note"] = "; ".join(told + [f"split: training has the tokens {parts}" for _, parts in kept if parts])


def _kept(side: Side, text: int) -> tuple[int | None, str]:
    """How many of a text's first tokens are kept, none where all are; and where the parts lie if it was split."""
    of_it = np.flatnonzero(side.pieces.sample == text)
    begins, ends = side.pieces.begin[of_it], side.pieces.end[of_it]
    if len(of_it) > 1 or begins.any():
        return None, ", ".join(f"{begin + 1:,} to {end:,}" for begin, end in zip(begins, ends, strict=True))
    most = int(ends.sum())
    return (None if most == side.samples.lengths[text] else most), ""


def _in_words(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "source": row["source"],
        "turns": row["turns"],
        "proven": row["proven_turns"],
        "tokens": row["tokens"],
        "trained": f"{row['trained_share']:.1%}",
    }


def _held(batch: pa.RecordBatch) -> Iterator[Held]:
    """What the conversations of a batch hold that a chat template may leave out."""
    messages = batch.column("messages").flatten()
    if pc.any(pc.equal(messages.field("role"), "system")).as_py():
        yield "system"
    if messages.field("reasoning").null_count < len(messages):
        yield "reasoning"
    if batch.column("tools").null_count < batch.num_rows or messages.field("tool_calls").null_count < len(messages):
        yield "tools"
