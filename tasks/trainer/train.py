"""`python -m tasks.trainer.train job.json`: fine-tune one model. Writes into the job's output folder:

`model/` (full model, merged where an adapter was trained), `adapter/` (adapter methods only), `metrics.parquet`,
`tensorboard/`, `result.json`.
"""

import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

from tasks.trainer import child
from tasks.trainer.job import TrainingJob

if TYPE_CHECKING:
    from datasets import Dataset


def train(job: TrainingJob) -> None:
    """Train as told and write the results. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.batches import read_rows
    from tasks.trainer.models import prepare_machine

    started = time.perf_counter()
    job.output.mkdir(parents=True, exist_ok=True)
    # Each process has its own: two that read the same files would write the same cache.
    scratch = job.output / f"scratch-{os.environ.get('RANK', '0')}"
    machine = prepare_machine(job.dtype, job.seed)
    try:
        rows = read_rows(job.sequences, scratch / "cache")
        heldout = read_rows(job.heldout, scratch / "cache") if job.heldout else None
        result = _train(job, machine, rows, heldout)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if os.environ.get("RANK", "0") == "0":
        result["seconds"] = round(time.perf_counter() - started, 3)
        (job.output / "result.json").write_text(json.dumps(result, indent=2), encoding="utf-8")


def _train(job: TrainingJob, machine: Any, rows: "Dataset", heldout: "Dataset | None") -> dict[str, Any]:
    from tasks.trainer.run import prepare

    with prepare(job, machine, rows, heldout) as run:
        first_step = run.begin()
        if first_step < len(run.loop.steps) and not run.loop.has_ended():
            run.loop.run(first_step, run.after_step)
        run.end()
        return run.result()


if __name__ == "__main__":
    child.main(TrainingJob, train, stops_in_order=True)
