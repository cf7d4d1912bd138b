"""`python -m tasks.trainer.classifier.train job.json`: train one classifier. Writes into the job's output folder:

`model/` (full model, merged where an adapter was trained), `adapter/` (LoRA only), `metrics.parquet`, `result.json`.
"""

import json

from tasks.trainer import child
from tasks.trainer.classifier.job import ClassifierJob


def train(job: ClassifierJob) -> None:
    """Train as told and write the results. torch is imported only here, after the process is tied to its parent."""
    from tasks.trainer.classifier.run import build
    from tasks.trainer.models import prepare_machine

    job.output.mkdir(parents=True, exist_ok=True)
    run = build(job, prepare_machine(job.dtype, job.seed))
    run.train()
    run.write()
    (job.output / "result.json").write_text(json.dumps(run.result(), indent=2), encoding="utf-8")


if __name__ == "__main__":
    child.main(ClassifierJob, train, stops_in_order=True)
