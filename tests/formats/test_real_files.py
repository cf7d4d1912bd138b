"""Every public file with answers or labels, read by recognition or with at most three lines of the recipe."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tasks.formats import reader
from tasks.formats.row import Conversation, RowError

BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("FETTLE_REAL_DATA", BESIDE))
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data: {DATA} is absent")

RECOGNISED = [
    "instruction/alpaca_cot_chain_of_thought",
    "instruction/alpaca_original_subset",
    "instruction/codealpaca_2k",
    "instruction/dolly_3k_alpagasus",
    "instruction/gpteacher_codegen",
    "instruction/lima",
    "conversations/fastchat_dummy_conversation",
    "conversations/llama_factory_glaive_toolcall_en_demo",
    "conversations/llama_factory_reason_tool_use_demo_50",
    "conversations/llama_factory_v1_sft_demo",
    "conversations/oasst1_validation_via_qlora",
    "preference/llama_factory_dpo_en_demo",
    "preference/open_instruct_preference_sample",
    "safety/enterprise_pii_classification",
    "safety/safety_tuned_llamas_train",
    "safety/xstest_completions_human_labels",
    "domain/medical_meadow_patient_qa",
    "domain/medquad_answered",
    "classification/banking77",
    "classification/financial_phrasebank_50agree",
    "classification/sst2_sentences",
    "classification/twitter_financial_news_topic",
    "math_code/gsm8k",
    "dedup/pan_paraphrase_pairs",
]
MAPPED: dict[str, dict[str, Any]] = {
    "instruction/self_instruct_seed_tasks": {
        "prompt": ["instruction", "instances.0.input"],
        "answer": "instances.0.output",
    },
    "conversations/tau_bench_airline_gpt4o_trajectories": {
        "messages": "traj",
        "quality": "reward",
        "cut_unanswered": True,
    },
    "math_code/mbpp": {"prompt": "text", "answer": "code"},
    "dedup/mrpc": {"prompt": ["#1 String", "#2 String"], "answer": "Quality"},
}
BFCL: dict[str, Any] = {"messages": "question", "answer": "ground_truth", "tools": "function"}


def read_file(name: str, fields: dict[str, Any] | None = None) -> tuple[list[Conversation], Counter[str]]:
    read = reader(None, fields)
    found: list[Conversation] = []
    causes: Counter[str] = Counter()
    for row in pq.read_table(DATA / f"{name}.parquet").to_pylist():
        try:
            found.append(read(row))
        except RowError as error:
            causes[error.cause] += 1
    return found, causes


@pytest.mark.parametrize(("name", "fields"), [*((name, None) for name in RECOGNISED), *MAPPED.items()])
def test_every_row_with_an_answer_is_read(name: str, fields: dict[str, Any] | None) -> None:
    assert len(fields or ()) <= 3
    found, causes = read_file(name, fields)
    assert not causes
    assert len(found) == pq.read_metadata(DATA / f"{name}.parquet").num_rows


def test_function_calls_without_one_answer_are_refused_for_it() -> None:
    found, causes = read_file("conversations/bfcl_v4", BFCL)
    # Calls that fit no function have no truth; of several rounds, each has its own, which one last answer cannot give.
    assert causes == {"no ground_truth": 1140, "roles out of order": 791}
    assert len(found) == 2765
    assert sum(row.tools is not None for row in found) == 2501


def test_prompts_without_answers_are_refused() -> None:
    assert read_file("safety/xstest_prompts") == ([], {"no answer": 450})


def test_what_turns_hold_is_kept() -> None:
    found, _ = read_file("conversations/llama_factory_reason_tool_use_demo_50")
    turns = [turn for row in found for turn in row.messages if turn["role"] == "assistant"]
    assert sum("reasoning" in turn for turn in turns) == 112
    assert sum("tool_calls" in turn for turn in turns) == 53
    assert sum(row.tools is not None for row in found) == 48
    found, _ = read_file("conversations/llama_factory_glaive_toolcall_en_demo")
    assert sum("tool_calls" in turn for row in found for turn in row.messages) == 211
    found, _ = read_file(
        "conversations/tau_bench_airline_gpt4o_trajectories",
        MAPPED["conversations/tau_bench_airline_gpt4o_trajectories"],
    )
    assert Counter(row.quality for row in found) == {0.0: 116, 1.0: 84}
    assert sum("tool_calls" in turn for row in found for turn in row.messages) == 1164
    found, _ = read_file("instruction/lima")
    assert sum(len(row.messages) > 2 for row in found) == 29
