"""Batches of conversations as texts, with what is trained of them and what must stay text.

The sure way renders one conversation after the other. The fast way writes whole columns of all conversations that have
the same turns, by a layout that was learnt from the template once; the first conversations of every shape, and a few of
all later ones, are rendered both ways, and a layout that differs is not used.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.algorithms.chat.control_tokens import borders, control_tokens
from tasks.algorithms.chat.laid_columns import Columns, laid_rows, rows_fitting, written
from tasks.algorithms.chat.layouts import Layout, Learner, Shape
from tasks.algorithms.chat.message_columns import MessageColumns
from tasks.algorithms.chat.rendered_rows import (
    CharacterRange,
    RenderedRows,
    TextRanges,
    in_bytes,
    in_order,
    rows_of,
    same,
    take,
)
from tasks.algorithms.chat.rendering import ChatTemplate, RefusedConversation, Trained, as_templates_expect
from tasks.algorithms.chat.sandbox import clock
from tasks.algorithms.chat.stand_ins import hidden, put_back
from tasks.algorithms.chat.symbolic_rendering import SymbolicTemplate
from tasks.algorithms.tokens.arrays import Flags, Places, Rendered
from tasks.conversation import Message

_FEWEST_ROWS = 16
"""Conversations of one shape in a batch from which on its layout is worth learning."""
_FIRST_CHECKED, _CHECKED_EVERY = 8, 256


class Renderer:
    """Renders batches with one template."""

    def __init__(
        self, template: ChatTemplate, choice: Trained, *, special: Sequence[str], added: Sequence[str]
    ) -> None:
        """`special` are spelled control tokens; `added` tokens that only the assistant may write as such."""
        self._template, self._choice = template, choice
        self._tokens = control_tokens(special, added, template.source)
        self._learner = _learner(template, choice)
        self._layouts: dict[Shape, Layout | None] = {}
        self._seen: Counter[Shape] = Counter()

    def __call__(self, batch: pa.RecordBatch | pa.Table) -> Rendered:
        """The texts of a batch with `messages` and, where there are any, `tools`."""
        columns = MessageColumns(batch)
        spelled, refused = columns.rows_holding(self._tokens), dict[int, str]()
        parts, sure = list[RenderedRows](), [columns.unlike(spelled)]
        for shape, rows in columns.shapes(spelled):
            fast, rest = self._fast(columns, shape, rows)
            parts += fast
            sure.append(rest)
        slow = np.sort(np.concatenate(sure))
        parts.append(self._sure(columns, slow, spelled, refused))
        made = in_order(parts)
        return Rendered(made.texts, made.rows, made.trained, made.turns, made.plain, refused)

    def prompt(self, messages: Sequence[Message], tools: str | None = None) -> tuple[str, list[CharacterRange]]:
        """The text that asks for the next answer, and the byte ranges in it that must stay text."""
        shown, schemas, stand_ins = hidden(messages, tools, self._tokens, self._template.source, spelled=True)
        asked = self._template.render(shown, schemas, generation_prompt=True)
        text = put_back(asked, [], stand_ins)
        return text.text, in_bytes(text.text, text.plain)

    def layout(self, shape: Shape) -> Layout | None:
        """How the template lays out conversations of a shape; none where each must be rendered by itself."""
        if shape not in self._layouts:
            self._layouts[shape] = self._learner.layout(shape) if self._learner else None
        return self._layouts[shape]

    def _fast(self, columns: MessageColumns, shape: Shape, rows: Places) -> tuple[list[RenderedRows], Places]:
        """What could be written as the layout says, and the conversations that could not."""
        layout = self.layout(shape) if len(rows) >= _FEWEST_ROWS or shape in self._layouts else None
        if layout is None:
            return [], rows
        fitting = rows_fitting(layout, columns.of(layout.fields, rows), len(rows))
        fitting &= self._apart(layout, shape, columns.of(layout.fields, rows), len(rows))
        if not fitting.any():
            return [], rows
        mine = rows[fitting]
        held = columns.of(layout.fields, mine)
        parts = [laid_rows(laid, held, mine) for laid in layout.texts]
        if not self._proven(columns, shape, parts, mine):
            self._layouts[shape] = None
            return [], rows
        return parts, rows[~fitting]

    def _apart(self, layout: Layout, shape: Shape, columns: Columns, rows: int) -> Flags:
        """The conversations in which no control token comes about where a message meets the template's text."""
        apart = np.ones(rows, np.bool_)
        for laid in layout.texts:
            risks = borders(laid, [turn.role for turn in shape], self._tokens)
            if risks is None:
                return np.zeros(rows, np.bool_)
            for piece, test, edge in risks:
                apart &= ~np.asarray(getattr(pc, test)(written(piece, columns), edge))
        return apart

    def _proven(self, columns: MessageColumns, shape: Shape, parts: Sequence[RenderedRows], rows: Places) -> bool:
        """Whether the sure way gives the same for the first conversations of a shape and some of the later ones."""
        numbers = np.arange(self._seen[shape], self._seen[shape] + len(rows))
        self._seen[shape] += len(rows)
        (checked,) = np.nonzero((numbers < _FIRST_CHECKED) | (numbers % _CHECKED_EVERY == 0))
        refused = dict[int, str]()
        sure = self._sure(columns, rows[checked], np.zeros(columns.rows, np.bool_), refused)
        return not refused and same(in_order([take(part, checked) for part in parts]), sure)

    def _sure(self, columns: MessageColumns, rows: Places, spelled: Flags, refused: dict[int, str]) -> RenderedRows:
        made, places = list[TextRanges](), list[int]()
        for row, conversation in zip(rows.tolist(), columns.conversations(rows), strict=True):
            messages, tools = conversation
            if not messages:
                refused[row] = "it has no messages"
                continue
            try:
                texts = list(self._rendered(messages, tools, spelled=bool(spelled[row])))
            except RefusedConversation as error:
                refused[row] = str(error)
                continue
            except json.JSONDecodeError as error:
                refused[row] = f"its tools or tool calls are no JSON: {error}"
                continue
            made += texts
            places += [row] * len(texts)
        return rows_of(made, places)

    def _rendered(self, messages: list[Message], tools: str | None, *, spelled: bool) -> Iterator[TextRanges]:
        """The texts of one conversation."""
        shown, schemas, stand_ins = hidden(messages, tools, self._tokens, self._template.source, spelled=spelled)
        for made in self._template.trained(shown, schemas, self._choice):
            text = put_back(made.text, made.spans, stand_ins)
            if not _is_unicode(text.text):
                raise RefusedConversation("it holds half of a surrogate pair; remove it")
            yield text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _learner(template: ChatTemplate, choice: Trained) -> Learner | None:
    """None where the template cannot be run on symbolic texts."""
    try:
        symbolic = SymbolicTemplate(template.source, {"strftime_now": clock(template.date)})
    except Exception:  # noqa: BLE001 # whatever it is: the sure way tells
        return None
    known = {"bos_token": template.bos or "", "eos_token": template.eos}
    return Learner(symbolic, known, as_templates_expect, lambda messages: template.trained(messages, None, choice))
