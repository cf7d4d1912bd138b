"""Faults planted in training runs of the demo's model are diagnosed by name, and sound runs are left in peace."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from flows.demo import domain, facts, safety, snippets
from flows.demo.rows import Row
from tasks.algorithms.chat.rendering import PLAIN_TEMPLATE, ChatTemplate
from tasks.methods import Lora
from tasks.trainer.child import Diverged
from tasks.trainer.events import parse
from tasks.trainer.job import TrainingJob
from tasks.trainer.train import train

pytestmark = [
    # peft still uses this name itself; transformers calls it deprecated.
    pytest.mark.filterwarnings("ignore:`(is_)?gradient_checkpointing` is deprecated:FutureWarning"),
]

BASE = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
RATE = 1.5e-3
"""The demo's own."""
Sample = tuple[list[int], int]
WriteRows = Callable[[Path, Sequence[Sequence[Sample]]], Path]
Diagnose = Callable[..., set[str]]


def samples(seed: int, count: int) -> list[Sample]:
    """Rows of the demo's sources, as token ids and the number of them that the prompt has."""
    random, tokenizer = Random(seed), Tokenizer.from_file(str(BASE / "tokenizer.json"))
    figures = [row for figure in facts.FIGURES for row in islice(domain.figure_rows(random, figure), 12)]
    others = [each(random) for each in (domain.chat_rows, safety.refusals, snippets.snippets)]
    rows: list[Row] = [*figures, *(row for source in others for row in islice(source, 250))]
    random.shuffle(rows)
    template = ChatTemplate(PLAIN_TEMPLATE, bos="<s>", eos="</s>")
    made = []
    for row in rows[:count]:
        asked = template.render([{"role": "user", "content": row.turns[0].user}])
        head, answer = (
            tokenizer.encode(text, add_special_tokens=False).ids for text in (asked, row.turns[0].assistant + "</s>")
        )
        made.append((head + answer, len(head)))
    return made


def packed(made: Sequence[Sample], size: int = 4) -> list[list[Sample]]:
    return [list(made[begin : begin + size]) for begin in range(0, len(made), size)]


def shuffled(path: Path) -> None:
    """Each row's trained labels change places among themselves."""
    table, random = pq.read_table(path), np.random.default_rng(0)
    labels = [np.array(row) for row in table["labels"].to_pylist()]
    for row in labels:
        row[row != -100] = random.permutation(row[row != -100])
    place = table.schema.get_field_index("labels")
    column = pa.array([row.tolist() for row in labels], table.schema.field("labels").type)
    pq.write_table(table.set_column(place, "labels", column), path)


@pytest.fixture(scope="module")
def heldout(tmp_path_factory: pytest.TempPathFactory, write_rows: WriteRows) -> Path:
    return write_rows(tmp_path_factory.mktemp("heldout") / "heldout.parquet", packed(samples(99, 32), 1))


@pytest.fixture
def diagnosed(tmp_path: Path, write_rows: WriteRows, heldout: Path, capsys: pytest.CaptureFixture[str]) -> Diagnose:
    """Trains with some settings on some rows; gives the names of all diagnoses that were told on the way."""

    def run(rows: int = 240, *, spoil: Callable[[Path], None] | None = None, **settings: Any) -> set[str]:
        table = write_rows(tmp_path / "train.parquet", packed(samples(1, rows)))
        if spoil is not None:
            spoil(table)
        usual = {"learning_rate": RATE, "epochs": 1, "batch_size": 2, "warmup_ratio": 0.1, "evaluations": 4}
        job = TrainingJob(
            base_model=BASE,
            sequences=[table],
            heldout=[heldout],
            output=tmp_path / "out",
            dtype="float32",
            **{**usual, **settings},
        )
        try:
            train(job)
        finally:
            # Not `splitlines`, which takes the events' marker for the end of a line.
            told = [event for line in capsys.readouterr().out.split("\n") if (event := parse(line))]
            print([event for event in told if event["event"] in ("evaluation", "smoke", "diagnosis")])
        return {event["name"] for event in told if event["event"] == "diagnosis"}

    return run


def test_a_sound_run_is_left_in_peace(diagnosed: Diagnose) -> None:
    assert diagnosed() == set()


def test_a_sound_adapter_is_left_in_peace(diagnosed: Diagnose) -> None:
    assert diagnosed(method=Lora(rank=8, alpha=16), learning_rate=1e-2) == set()


def test_a_rate_a_thousand_times_too_high(
    diagnosed: Diagnose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Diverged) as caught:
        diagnosed(learning_rate=1000 * RATE)
    assert "Last good checkpoint" in str(caught.value)
    assert "'name': 'learning_rate_too_high'" in capsys.readouterr().out


def test_shuffled_labels(diagnosed: Diagnose) -> None:
    assert diagnosed(160, spoil=shuffled, watching={"preflight": False}) == {"shuffled_labels"}


def test_thirty_rows_fifty_times(diagnosed: Diagnose) -> None:
    assert "memorisation" in diagnosed(30, epochs=50, batch_size=4, evaluations=10)


def test_a_rate_a_thousand_times_too_low(diagnosed: Diagnose) -> None:
    assert diagnosed(120, learning_rate=RATE / 1000) == {"learning_rate_too_low"}
