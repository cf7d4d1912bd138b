"""What it costs to judge rows: all default filters together, and the one that a peer has too against that peer."""

import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tasks.algorithms.tokens.encoding import TextEncoder
from tasks.conversation import CONVERSATIONS
from tasks.curation import ROWS_PER_BATCH, judge
from tasks.filters import CurationConfig
from tasks.filters.reading import Readings
from tasks.filters.repetition import Repetition
from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import corpus

ROWS, PEER_ROWS = 50_000, 2_000
TARGET_ROWS_PER_CPU_SECOND = 200_000
REPETITIVE_EVERY, CUT_EVERY = 100, 250
SHARE = 0.5


@figure("filters.all_defaults")
def all_defaults(scratch: Path) -> Measurement:
    """All default filters and flags, from the stored batch to the kept and the dropped one; token counting apart."""
    table = _conversations(ROWS)
    _judge(table.slice(0, 100))  # compiles the loops and patterns
    began = time.process_time()
    dropped = _judge(table)
    seconds = time.process_time() - began
    config = CurationConfig()
    singly = sum(config.judge(row) is not None for row in _rows(table.slice(0, PEER_ROWS)))
    require(dropped[:PEER_ROWS].sum() == singly, "filters over columns drop other rows than filters over single rows")
    return Measurement(
        ours=ROWS / seconds,
        peer=TARGET_ROWS_PER_CPU_SECOND,
        peer_name="target",
        unit="rows/CPU-s",
        checked=f"of {PEER_ROWS:,} rows, {singly} are dropped when judged one by one, and as many in columns",
        more_is_better=True,
    )


@figure("filters.vs_peer")
def vs_peer(scratch: Path) -> Measurement:
    """Repeated 10-grams and lines, above one half, of the same answers: what both filters know."""
    from datatrove.data import Document
    from datatrove.pipeline.filters import GopherRepetitionFilter

    peer = GopherRepetitionFilter(
        dup_line_frac=SHARE,
        dup_para_frac=None,
        dup_line_char_frac=None,
        dup_para_char_frac=None,
        top_n_grams=(),
        dup_n_grams=((10, SHARE),),
    )
    table = _conversations(ROWS)
    documents = [
        Document(text=row.answer, id=str(number)) for number, row in enumerate(_rows(table.slice(0, PEER_ROWS)))
    ]
    peer.filter(documents[0])
    began = time.process_time()
    theirs = np.array([peer.filter(each) is not True for each in documents])
    between = time.process_time()
    config = Repetition(min_unique_ratio=0, max_repeated_ngrams=SHARE, max_repeated_lines=SHARE, min_words=1)
    _repetitive(config, table.slice(0, 100))
    middle = time.process_time()
    ours = _repetitive(config, table)
    ended = time.process_time()
    require(np.array_equal(ours[:PEER_ROWS], theirs), "the two filters drop different rows")
    return Measurement(
        ours=ROWS / (ended - middle),
        peer=PEER_ROWS / (between - began),
        peer_name="datatrove Gopher repetition",
        unit="rows/CPU-s",
        checked=f"the same {theirs.sum()} of {PEER_ROWS:,} rows are dropped; ours judged {ROWS:,} rows",
        more_is_better=True,
    )


def _conversations(rows: int) -> pa.Table:
    """Rows of a prompt and an answer, some of which say the same again and again, or are cut."""
    made = []
    for number, text in enumerate(corpus(rows).texts):
        prompt, _, answer = text.partition(". ")
        if number % REPETITIVE_EVERY == 0:
            answer = " ".join([answer[:80]] * 12)
        elif number % CUT_EVERY == 1:
            answer = answer.removesuffix(".") + " and the"
        turns = [{"role": "user", "content": f"{prompt}."}, {"role": "assistant", "content": answer}]
        made.append({"id": str(number), "split": "train", "source": "made", "line": number + 1, "messages": turns})
    return pa.Table.from_pylist(made, CONVERSATIONS)


class _Uncounted(TextEncoder):
    """Says that each text has a hundred tokens."""

    def __init__(self) -> None:
        pass

    def count(self, texts: object) -> npt.NDArray[np.int64]:
        return np.full(len(texts), 100)  # type: ignore[arg-type]


def _judge(table: pa.Table) -> npt.NDArray[np.bool_]:
    gone = np.zeros(table.num_rows, dtype=np.bool_)
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        lines = judge(CurationConfig(), _Uncounted(), batch).dropped["line"].to_numpy()
        gone[lines - 1] = True
    return gone


def _rows(table: pa.Table) -> list[object]:
    readings = Readings(table["messages"].combine_chunks())
    hundred = np.full(table.num_rows, 100)
    return list(readings.rows(readings.columns(hundred, hundred), list(range(table.num_rows))))


def _repetitive(config: Repetition, table: pa.Table) -> npt.NDArray[np.bool_]:
    found = np.zeros(table.num_rows, dtype=np.bool_)
    begin = 0
    for batch in table.to_batches(max_chunksize=ROWS_PER_BATCH):
        readings, hundred = Readings(batch.column("messages")), np.full(batch.num_rows, 100)
        columns = readings.columns(hundred, hundred)
        places = config.suspects(columns).arg_true().to_list()
        for place, row in zip(places, readings.rows(columns, places), strict=True):
            found[begin + place] = config(row) is not None
        begin += batch.num_rows
    return found
