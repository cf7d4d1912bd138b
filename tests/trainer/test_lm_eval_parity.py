"""Log-likelihoods equal to those of lm-evaluation-harness, which reads every choice by itself."""

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from tasks.trainer.job import ScoringJob
from tasks.trainer.requests import REQUESTS
from tasks.trainer.scoring import score

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
MODELS = {
    "demo": Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model",
    "stories260K": Path(os.environ.get("FETTLE_REAL_DATA", BESIDE)) / "models" / "stories260K",
}
SHOTS = "".join(
    f"Question: What did {name} see?\nAnswer: {name} saw a {thing}.\n\n"
    for name, thing in (
        ("Lily", "big red ball"),
        ("Tom", "small dog"),
        ("Sue", "little bird in the tree"),
        ("Ben", "cat"),
    )
)
QUESTIONS: list[tuple[str, tuple[str, ...]]] = [
    *(
        (
            f"{SHOTS}Question: What did {name} see?\nAnswer:",
            (" A", f" {name}", f" {name} saw a", f" {name} saw the sun.", " B"),
        )
        for name in ("Max", "Anna", "Sam", "Mia")
    ),
    (f"{SHOTS}Is it so? ", ("yes", "no", "it is")),  # the blank goes to the answers
    ("Once upon a time, there was a little", (" girl", " girl who liked to play.", " dog", "est")),
    ("The sun is\n\n", ("hot", " hot", "é ☃")),
    ("", ("Once", "Once upon a time")),
    ("One day, they went to the park. " * 90, (" The end.", " And then")),  # longer than the models' contexts
]


@pytest.mark.parametrize("name", MODELS)
def test_log_likelihoods_equal_the_harness(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    if not model.is_dir():
        pytest.skip(f"{model} is not there")
    rows: list[dict[str, Any]] = [
        {"key": str(number), "form": "choices", "prompt": prompt, "choices": list(choices)}
        for number, (prompt, choices) in enumerate(QUESTIONS)
    ]
    pq.write_table(pa.Table.from_pylist(rows, schema=REQUESTS), tmp_path / "requests.parquet")
    score(ScoringJob(model=model, requests=tmp_path / "requests.parquet", output=tmp_path, dtype="float32"))
    ours = {row["key"]: row for part in tmp_path.glob("answers-*.parquet") for row in pq.read_table(part).to_pylist()}
    harness = HFLM(pretrained=str(model), dtype="float32", device="cpu", batch_size=4)
    for number, (prompt, choices) in enumerate(QUESTIONS):
        asked = [Instance("loglikelihood", {}, (prompt, choice), place) for place, choice in enumerate(choices)]
        theirs = [float(value) for value, _ in harness.loglikelihood(asked, disable_tqdm=True)]
        assert ours[str(number)]["loglikelihoods"] == pytest.approx(theirs, abs=1e-3), prompt[-60:]
    assert ours[str(len(QUESTIONS) - 1)]["truncated"]
