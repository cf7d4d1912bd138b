"""A few rows of a run, token by token, for a page that people read: spread over sources and kinds of rows."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.algorithms.tokens.arrays import Flags, Places, Ranges, Rendered, Tokens

_TOKEN = pa.struct(
    [
        ("id", pa.int32()),
        ("text", pa.string()),
        ("trained", pa.bool_()),
        ("plain", pa.bool_()),
        ("special", pa.bool_()),
    ]
)
SAMPLES = pa.schema(
    [
        ("row_id", pa.string()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),
        ("split", pa.string()),
        ("kinds", pa.list_(pa.string())),
        ("texts", pa.list_(pa.list_(_TOKEN))),
        ("lengths", pa.list_(pa.int32())),
        ("kept", pa.list_(pa.int32())),
        ("note", pa.string()),
    ]
)
"""The tokens of each text of a row, the first so many of them; `text` is what a token adds to those before it (nothing
for the later tokens of one character), `plain` marks what spells a control token and stays text, `special` the control
tokens. `lengths` counts all tokens of each text; `kept` how many training has of them, nothing where all; `note` says
where the row lies among the sequences."""
MOST_ROWS, MOST_TOKENS, _MOST_OF_A_KIND = 24, 800, 2
_Group = tuple[str, str]
"""A kind of rows, or none and a source."""
_ABOVE_ALL = "~"
SEVERAL_TURNS, WITH_TOOLS, SEVERAL_TEXTS, NEUTRALISED = "several turns", "tools", "several texts", "control tokens"


class SampleRows:
    """The rows with the smallest ids of each source and of each kind: the same ones however the rows are batched."""

    def __init__(self, special: Sequence[int]) -> None:
        self._special = np.array(sorted(special), dtype=np.int64)
        self._best: dict[_Group, dict[str, dict[str, Any]]] = {}
        self._bars: dict[_Group, str] = {}
        """The greatest id of groups that are full."""

    def add(self, batch: pa.RecordBatch, rendered: Rendered, tokens: Tokens, trained: Flags) -> None:
        """Look at a batch with id, source, file, line, split and tools."""
        ids, sources = batch.column("id").to_pylist(), batch.column("source").to_pylist()
        kinds = _kinds(batch, rendered)
        for row in np.unique(rendered.rows).tolist():
            groups = [("", sources[row]), *((kind, "") for kind in kinds.get(row, ()))]
            wanted = [group for group in groups if ids[row] < self._bars.get(group, _ABOVE_ALL)]
            if wanted:
                place = {name: batch.column(name)[row].as_py() for name in ("source", "file", "line", "split")}
                texts = sample_texts(np.flatnonzero(rendered.rows == row), rendered, tokens, trained, self._special)
                self._keep({"row_id": ids[row], **place, "kinds": kinds.get(row, []), **texts}, wanted)

    def _keep(self, sample: dict[str, Any], groups: Sequence[_Group]) -> None:
        for group in groups:
            best = self._best.setdefault(group, {})
            best[sample["row_id"]] = sample
            if len(best) > MOST_ROWS:
                del best[max(best)]
            if len(best) == MOST_ROWS:
                self._bars[group] = max(best)

    def rows(self) -> list[dict[str, Any]]:
        """The samples as `SAMPLES` has them, by id; `kept` and `note` are for the stage to fill in."""
        chosen: dict[str, dict[str, Any]] = {}
        groups = [(kind, [best[each] for each in sorted(best)]) for (kind, _), best in sorted(self._best.items())]
        for kind, best in groups:
            chosen |= {row["row_id"]: row for row in best[:_MOST_OF_A_KIND] if kind}
        # Then one of each source after the other.
        for depth in range(MOST_ROWS):
            for kind, best in groups:
                if not kind and depth < len(best) and len(chosen) < MOST_ROWS:
                    chosen.setdefault(best[depth]["row_id"], best[depth])
        return [chosen[each] for each in sorted(chosen)]


def sample_texts(texts: Places, rendered: Rendered, tokens: Tokens, trained: Flags, special: Places) -> dict[str, Any]:
    """The part of a sample that its texts give."""
    told = [list(_tokens(int(each), rendered, tokens, trained, special)) for each in texts]
    lengths = np.diff(tokens.offsets)[texts].tolist()
    return {"texts": told, "lengths": lengths, "kept": [None] * len(told), "note": ""}


def _tokens(
    text: int, rendered: Rendered, tokens: Tokens, trained: Flags, special: Places
) -> Iterator[Mapping[str, Any]]:
    begin, end = tokens.offsets[text : text + 2].tolist()
    end = min(end, begin + MOST_TOKENS)
    data, reached = rendered.texts[text].as_py().encode(), 0
    plain = _touched(rendered.plain, text, tokens.begins[begin:end], tokens.ends[begin:end])
    controls = np.isin(tokens.ids[begin:end], special) & ~plain
    for at in range(begin, end):
        # From where the token before it ended: some tokenizers have no token for white space.
        first, reached = reached, max(reached, int(tokens.ends[at]))
        yield {
            "id": int(tokens.ids[at]),
            "text": data[first:reached].decode(errors="replace"),
            "trained": bool(trained[at]),
            "plain": bool(plain[at - begin]),
            "special": bool(controls[at - begin]),
        }


def _touched(ranges: Ranges, text: int, begins: Places, ends: Places) -> Flags:
    """Which tokens of a text share a byte with one of its ranges."""
    touched = np.zeros(len(begins), dtype=np.bool_)
    for at in range(*ranges.offsets[text : text + 2]):
        touched |= (begins < ranges.ends[at]) & (ends > ranges.begins[at])
    return touched


def _kinds(batch: pa.RecordBatch, rendered: Rendered) -> dict[int, list[str]]:
    """What is special about rows of a batch, of those that are anything but one question and one answer."""
    kinds: dict[int, list[str]] = {}
    ranges = rendered.trained
    pairs = np.stack([np.repeat(rendered.rows, np.diff(ranges.offsets)), rendered.turns])
    turns = np.bincount(np.unique(pairs, axis=1)[0], minlength=batch.num_rows)
    texts = np.bincount(rendered.rows, minlength=batch.num_rows)
    plain = np.bincount(rendered.rows[np.diff(rendered.plain.offsets) > 0], minlength=batch.num_rows)
    tools = batch.column("tools").is_valid().to_numpy(zero_copy_only=False) & (texts > 0)
    for name, there in (
        (SEVERAL_TURNS, turns > 1),
        (WITH_TOOLS, tools),
        (SEVERAL_TEXTS, texts > 1),
        (NEUTRALISED, plain > 0),
    ):
        for row in np.flatnonzero(there).tolist():
            kinds.setdefault(row, []).append(name)
    return kinds
