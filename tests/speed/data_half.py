"""The data half, ingest to tokenize, at growing sizes and each in a process of its own: peak memory, cost of a row."""

import json
import os
import resource
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

from tests.speed.figure import Measurement, figure, require
from tests.speed.instructions import corpus

MOST_ROWS = int(os.environ.get("FETTLE_BENCH_DATA_ROWS", "2000000"))
BUDGET_GIB = 3.0
MOST_GROWTH = 1.25
"""How much more a row may cost at the largest size than at an eighth of it: sorting is not quite linear."""
_ROWS_PER_CHUNK = 125_000
_PROMPT_WORDS = 16
_TOKENIZER = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"


@figure("data.peak_memory")
def peak_memory(scratch: Path) -> Measurement:
    """Peak memory of the process that takes the largest corpus through all five stages."""
    largest = _runs(scratch)[-1]
    return Measurement(
        ours=largest["peak_gib"],
        peer=BUDGET_GIB,
        peer_name="budget",
        unit="GiB",
        checked=f"{largest['rows']:,} rows ({largest['megabytes']:,.0f} MB), every stage's rows conserved, "
        f"{largest['kept']:,} tokenised",
    )


@figure("data.scaling")
def scaling(scratch: Path) -> Measurement:
    """Processor time of a row at the largest size, as a multiple of that at an eighth of it."""
    runs = _runs(scratch)
    cost = [run["seconds"] / run["rows"] * 1e6 for run in runs]
    told = ", ".join(f"{run['rows']:,}: {each:.0f} µs" for run, each in zip(runs, cost, strict=True))
    return Measurement(
        ours=cost[-1] / cost[0],
        peer=MOST_GROWTH,
        peer_name="budget",
        unit="growth of a row's cost",
        checked=f"processor time of a row over all five stages at {told}",
    )


@cache
def _runs(scratch: Path) -> list[dict[str, Any]]:
    return [
        _run(scratch / f"data-{rows}", rows) for rows in (MOST_ROWS // 8, MOST_ROWS // 4, MOST_ROWS // 2, MOST_ROWS)
    ]


def _run(folder: Path, rows: int) -> dict[str, Any]:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.speed.data_half", str(folder), str(rows)], capture_output=True, text=True
    )
    require(finished.returncode == 0, f"the data half failed on {rows:,} rows: {finished.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(finished.stdout.splitlines()[-1])
    require(found["read"] == rows, f"{found['read']:,} of {rows:,} rows were read")
    return found


def write_rows(path: Path, rows: int) -> None:
    """A JSONL file of instruction rows, a chunk of the corpus at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        for number, begin in enumerate(range(0, rows, _ROWS_PER_CHUNK)):
            for text in corpus(min(_ROWS_PER_CHUNK, rows - begin), seed=number).texts:
                words = text.split(" ")
                row = {"instruction": " ".join(words[:_PROMPT_WORDS]), "output": " ".join(words[_PROMPT_WORDS:])}
                file.write(json.dumps(row) + "\n")


def _measure(folder: Path, rows: int) -> dict[str, Any]:
    from tasks.artifacts.resource import TOKENIZER_FILES, read_resource
    from tasks.artifacts.store import Store
    from tasks.curation import curate
    from tasks.deduplication import DeduplicationConfig, deduplicate
    from tasks.filters import CurationConfig
    from tasks.ingestion import IngestionConfig, Source, ingest
    from tasks.mixing import MixingConfig, mix
    from tasks.tokenization import TokenizationConfig, tokenize

    path = folder / "rows.jsonl"
    declared = Source(name="rows", uri=str(path))
    tokenizer = read_resource(str(_TOKENIZER), patterns=TOKENIZER_FILES)
    store = Store(str(folder / "store"))
    store.probe()
    began = time.process_time()
    marks: dict[str, Any] = {}

    def mark(stage: str) -> None:
        marks[stage] = {"seconds": round(time.process_time() - began, 1), "peak_gib": round(_peak_gib(), 2)}

    ingested = ingest(store, IngestionConfig(), [read_resource(declared.uri, facts=declared.reading())])
    mark("ingest")
    curated = curate(store, CurationConfig(), ingested.only("conversations"), tokenizer)
    mark("curate")
    deduplicated = deduplicate(store, DeduplicationConfig(), curated.only("conversations"), [], ["rows"])
    mark("deduplicate")
    mixed = mix(store, MixingConfig(), deduplicated.only("conversations"))
    mark("mix")
    tokenized = tokenize(store, TokenizationConfig(), mixed.only("mixture", "heldout"), tokenizer)
    mark("tokenize")
    return {
        "rows": rows,
        "read": ingested.counts.read,
        "kept": tokenized.counts.kept,
        "megabytes": path.stat().st_size / 1e6,
        "seconds": marks["tokenize"]["seconds"],
        "peak_gib": marks["tokenize"]["peak_gib"],
        "stages": marks,
    }


def _peak_gib() -> float:
    """Most memory that this program has had; getrusage would count what its parent had when it was started."""
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
    return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:")) / 2**20


if __name__ == "__main__":
    place, count = Path(sys.argv[1]), int(sys.argv[2])
    # A child makes the rows, so that what it takes is not in the peak.
    where = repr(str(place / "rows.jsonl"))
    writing = f"from tests.speed.data_half import Path, write_rows; write_rows(Path({where}), {count})"
    subprocess.run([sys.executable, "-c", writing], check=True)
    print(json.dumps(_measure(place, count)))
