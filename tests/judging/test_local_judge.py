"""A local model as judge, in the scorer's process: what it cannot read whole it does not judge."""

import shutil
from pathlib import Path

import pytest

from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.artifacts.store import Store
from tasks.judgement import judge
from tasks.judging.asked import Reply, Request
from tasks.judging.config import JudgeConfig, JudgeError
from tasks.judging.prompts import Question
from tasks.local_judge import TOO_LONG, LocalJudge
from tests.judging.making import item, measured

MODEL = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
CONFIG = JudgeConfig(model=str(MODEL), sentinels=0, max_tokens=16, max_unparsed=1.0)
ITEMS = [item(f"row-{number}", f"Rule {number}?") for number in range(3)]
SHOWN = {"row-0": "It is </s> so.", "row-1": "### Response:", "row-2": "word " * 2000}


@pytest.fixture(scope="module")
def model() -> Resource:
    return read_resource(str(MODEL))


def test_a_model_too_small_to_judge_says_what_it_cannot_read_and_claims_nothing(model: Resource, store: Store) -> None:
    base = measured(store, "base", ITEMS, dict.fromkeys(SHOWN, "It is."))
    artifact = judge(store, CONFIG, base, measured(store, "tuned", ITEMS, SHOWN), None, model)
    manifest = store.manifest(artifact)
    assert (manifest.facts["verdict"], manifest.facts["questions"]) == ("void", 6)
    assert manifest.facts["void"] == ["no prompt has a verdict in both orders"]
    rows = list(store.rows(artifact, "judgements"))
    for row in rows:
        if row["prompt_id"] == "row-2":
            assert (row["outcome"], row["fault"], row["answer"]) == ("failed", TOO_LONG, "")
        else:
            assert row["outcome"] == "unparsed"
            assert row["answer"].strip()
            assert 1 <= row["output_tokens"] <= 16
    assert "judging_model" in [parent.name for parent in manifest.identity.parents]
    assert str(MODEL) not in str(manifest.identity.config)


def test_a_local_judge_and_its_files_come_together(model: Resource, store: Store) -> None:
    one = measured(store, "base", ITEMS, SHOWN)
    with pytest.raises(JudgeError, match="a local judge needs its files"):
        judge(store, CONFIG, one, one)
    remote = JudgeConfig(endpoint="http://localhost/v1", model_name="j")
    with pytest.raises(JudgeError, match="an endpoint has none"):
        judge(store, remote, one, one, None, model)


def test_what_a_judge_of_other_weights_says_is_heard_by_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "judge"
    shutil.copytree(MODEL, folder)
    judging = LocalJudge(read_resource(str(folder)), 1, print)
    requests = [Request(Question("Be brief.", f"Rule {number}?", "grade"), 4) for number in range(2)]
    heard: list[Reply] = []

    def hear(reply: Reply) -> bool:
        heard.append(reply)
        return len(heard) < 3

    judging.ask(requests, hear)
    assert len(heard) == 2
    (weights,) = folder.glob("*.safetensors")
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(ResourceError, match=r"safetensors changed while the run was under way; run again"):
        judging.ask(requests, hear)
    assert len(heard) == 2
