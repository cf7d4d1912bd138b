"""Models measured by a real scorer process, and compared: the demo's model, and copies of it that answer otherwise."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tasks.algorithms.gate.comparison import Gate
from tasks.algorithms.gate.pairs import IncomparableError
from tasks.artifacts.manifest import Artifact, Counts, Identity
from tasks.artifacts.resource import MODEL_FILES, TOKENIZER_FILES, Resource, ResourceError, read_resource
from tasks.artifacts.store import Store
from tasks.asked import Asked, MeasurementConfig
from tasks.benchmarks import ifeval, load_items
from tasks.benchmarks.item import Item, Response
from tasks.curation import curate
from tasks.deduplication import DeduplicationConfig, deduplicate
from tasks.evaluation import EvaluationConfig, enlarged, evaluate
from tasks.filters import CurationConfig
from tasks.filters.length import Length
from tasks.ingestion import IngestionConfig, ingest
from tasks.measurement import measure
from tasks.mixing import MixingConfig, mix
from tasks.tokenization import TokenizationConfig, tokenize
from tests.stages.making import benchmark, chat, pair, source

pytestmark = pytest.mark.xdist_group("measurement")

MODEL = Path(__file__).resolve().parents[2] / "flows" / "demo" / "base_model"
CONFIG = EvaluationConfig(heldout_rows=20, samples=4, max_new_tokens=8, batch_size=16, dtype="float32").measurement()
CHOICES = [
    {"id": f"c{n}", "question": f"Which number comes right after {n}?", "choices": [str(n + 1), str(n + 3)], "gold": 0}
    for n in range(12)
]
QUESTIONS = [{"id": f"g{n}", "question": f"What is {n} plus one?", "answer": str(n + 1)} for n in range(4)]
TURNS = [
    {"question_id": n, "category": "writing", "turns": [f"Name {n} colours.", "Now say it in one word."]} for n in (2,)
]


INSTRUCTIONS = [
    {
        "key": n,
        "prompt": f"Name {n} rivers without commas in at most {n} words.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"num_words": n, "relation": "less than"}],
    }
    for n in (2, 50)
]


class Bench:
    """A store with tokenised rows, and models to measure."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.store = folder, Store(str(folder / "store"))
        self.store.probe()
        base = read_resource(str(MODEL), patterns=MODEL_FILES)
        self.tokenizer = base.only(*TOKENIZER_FILES, "config.json")
        rows = [pair(f"What does card {n} cost?", f"Card {n} costs {n} dollars a year.") for n in range(60)]
        rows.append(chat("I am lost.", "Where are you?", "At home.", "Then you are not lost."))
        ingested = ingest(self.store, IngestionConfig(heldout_fraction=0.2), [source(folder / "rows.jsonl", rows)])
        curated = curate(
            self.store,
            CurationConfig(length=Length(prompt_tokens=(1, 200), answer_tokens=(1, 200))),
            ingested,
            self.tokenizer,
        )
        self.mixed = mix(
            self.store, MixingConfig(), deduplicate(self.store, DeduplicationConfig(similarity=1), curated, [])
        )
        self.tokenized = tokenize(self.store, TokenizationConfig(max_length=128), self.mixed, self.tokenizer)

    def model(self, name: str, noise: float = 0.0) -> Resource:
        """A copy of the demo's model whose bytes differ, and with noise its answers, too."""
        folder = self.folder / name
        if not folder.exists():
            shutil.copytree(MODEL, folder)
            (folder / "vocab.note").write_text(name)
            (weights,) = folder.glob("*.safetensors")
            if noise:
                draw = np.random.default_rng(0)
                changed = {
                    key: (each + noise * draw.standard_normal(each.shape)).astype(each.dtype)
                    for key, each in load_file(weights).items()
                }
                save_file(changed, weights, {"format": "pt"})
        return read_resource(str(folder), patterns=MODEL_FILES)

    def measured(self, model: Resource, *benchmarks: Resource, config: MeasurementConfig = CONFIG) -> Artifact:
        heldout = self.tokenized.only("heldout", "template")
        return measure(self.store, config, model, heldout, self.mixed.only("heldout"), benchmarks, self.tokenizer)

    def answers(self, artifact: Artifact) -> dict[tuple[str, str], dict[str, Any]]:
        return {(row["benchmark"], row["item_id"]): row for row in self.store.rows(artifact, "answers")}

    def asked(self, artifact: Artifact) -> dict[str, int]:
        counts: dict[str, int] = self.store.manifest(artifact).facts["counts"]
        return counts


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("measurement"))


@pytest.fixture(scope="module")
def choices(bench: Bench) -> Resource:
    return benchmark(bench.folder / "choices.jsonl", CHOICES, prompt="chat")


@pytest.fixture(scope="module")
def questions(bench: Bench) -> Resource:
    return benchmark(bench.folder / "questions.jsonl", QUESTIONS, kind="generation")


@pytest.fixture(scope="module")
def base(bench: Bench, choices: Resource, questions: Resource) -> Artifact:
    return bench.measured(bench.model("base"), choices, questions)


GATE = Gate(gated=("choices",), investigate=2, fail=5)


def gates(bench: Bench, evaluated: Artifact) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(bench.store.read_file(evaluated, "gates.json"))
    return told


def test_a_model_compared_with_itself_passes_everything_also_with_another_batch_size(
    bench: Bench, base: Artifact, choices: Resource, questions: Resource
) -> None:
    other = bench.measured(bench.model("twin"), choices, questions, config=CONFIG.model_copy(update={"batch_size": 3}))
    assert bench.asked(other)["choices"] == len(CHOICES), "a model of other bytes must not meet these answers"
    told = gates(bench, evaluate(bench.store, GATE, base, other))
    assert told["verdict"] == "pass"
    judged = [score for score in told["scores"] if score["verdict"]]
    assert len(judged) == 1 + 1 + 6
    assert {score["verdict"] for score in judged} == {"pass"}
    assert not any(score["lost"] or score["gained"] for score in told["scores"])


def test_a_tuned_model_never_meets_the_answers_of_its_base(
    bench: Bench, base: Artifact, choices: Resource, questions: Resource
) -> None:
    tuned = bench.measured(bench.model("tuned", noise=0.05), choices, questions)
    assert bench.asked(tuned) == bench.asked(base)
    before, after = bench.answers(base), bench.answers(tuned)
    assert before.keys() == after.keys()
    for key, row in before.items():
        assert row["prompt_sha256"] == after[key]["prompt_sha256"]
        if row["form"] == "choices":
            assert (
                max(abs(a - b) for a, b in zip(row["loglikelihoods"], after[key]["loglikelihoods"], strict=True)) > 0.01
            )


def test_answers_of_weights_that_were_changed_meanwhile_are_kept_for_nobody(
    bench: Bench, base: Artifact, choices: Resource, questions: Resource
) -> None:
    model = bench.model("swapped")
    (weights,) = Path(model.uri).glob("*.safetensors")
    (others,) = Path(bench.model("tuned", noise=0.05).uri).glob("*.safetensors")
    own = weights.read_bytes()
    weights.write_bytes(others.read_bytes())
    with pytest.raises(ResourceError, match="changed while the run was under way; run again"):
        bench.measured(model, choices, questions)
    weights.write_bytes(own)
    again = bench.measured(model, choices, questions)
    assert bench.asked(again)["choices"] == len(CHOICES), "what the other weights answered must not be met"
    assert bench.answers(again) == bench.answers(base)


def test_a_model_with_another_tokenizer_is_refused(bench: Bench, choices: Resource) -> None:
    folder = Path(bench.model("foreign").uri)
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    model = read_resource(str(folder), patterns=MODEL_FILES)
    with pytest.raises(IncomparableError, match=r"foreign has another tokenizer\.json than the recipe's base model"):
        bench.measured(model, choices)


def test_a_folder_that_holds_an_adapter_as_well_is_refused(bench: Bench, choices: Resource) -> None:
    model = bench.model("adapted")
    (Path(model.uri) / "adapter_config.json").write_text("{}")
    with pytest.raises(ResourceError, match=r"holds adapter_config\.json beside the model"):
        bench.measured(model, choices)


def test_of_each_answer_it_is_kept_which_instructions_it_follows(bench: Bench, choices: Resource) -> None:
    asked = benchmark(bench.folder / "instructions.jsonl", INSTRUCTIONS, kind="ifeval")
    rows = bench.answers(bench.measured(bench.model("base"), choices, asked))
    assert {row["followed"] is None for (name, _), row in rows.items() if name != "instructions"} == {True}
    for item in load_items(asked):
        row = rows["instructions", item.item_id]
        expected = ifeval.followed(item, Response(text=row["shown"]))
        assert row["followed"] == [each._asdict() for each in expected]
        assert [each["name"] for each in row["followed"]] == INSTRUCTIONS[0]["instruction_id_list"]
        assert row["score"] == all(each["strict"] for each in row["followed"])


def test_the_limit_of_an_answer_is_a_part_of_its_key() -> None:
    def key(own: int | None, recipes: int) -> str:
        item = Item(item_id="i", cluster="c", question="?", max_new_tokens=own)
        asked = Asked(benchmark="b", kind="ifeval", form="generation", item=item, prompt="?")
        made: str = asked.request(recipes, [2])["key"]
        return made

    # A model of 512 positions gives 256 of the 1,280 tokens that an item may take, or as many as the recipe wants.
    assert key(1280, 8) != key(1280, 400)
    assert key(5, 8) == key(5, 400)
    assert key(None, 8) == key(8, 8) != key(None, 400)


def test_a_gated_benchmark_that_was_not_measured_is_refused(bench: Bench, base: Artifact) -> None:
    gate = Gate(gated=("choices", "mmlu"), investigate=2, fail=5)
    with pytest.raises(IncomparableError, match="the gate is to judge mmlu, of which nothing was measured"):
        evaluate(bench.store, gate, base, base)


def test_nothing_is_asked_twice(bench: Bench, base: Artifact, choices: Resource, questions: Resource) -> None:
    few = choices.model_copy(update={"facts": choices.facts | {"max_items": 5}})
    model = bench.model("growing")
    first = bench.measured(model, few)
    grown = bench.measured(model, choices, questions)
    assert bench.asked(first)["choices"] == 5
    assert bench.asked(grown)["choices"] == len(CHOICES) - 5
    assert bench.asked(grown)["generation"] == len(QUESTIONS), "the held-out prompts were answered before"
    expected = bench.answers(base)
    for key, row in bench.answers(grown).items():
        assert row["loglikelihoods"] == pytest.approx(expected[key]["loglikelihoods"], abs=1e-3)
        assert row["shown"] == expected[key]["shown"]


def test_an_evaluation_whose_artifact_is_lost_goes_on_where_it_stopped(
    bench: Bench, base: Artifact, choices: Resource, questions: Resource
) -> None:
    answers = bench.answers(base)
    bench.store.files.delete(base.address)
    again = bench.measured(bench.model("base"), choices, questions)
    assert {name: bench.asked(again)[name] for name in ("choices", "generation")} == {"choices": 0, "generation": 0}
    assert bench.answers(again) == answers


def test_the_model_in_production_is_compared_as_well(
    bench: Bench, base: Artifact, choices: Resource, questions: Resource
) -> None:
    tuned = bench.measured(bench.model("tuned", noise=0.05), choices, questions)
    evaluated = evaluate(bench.store, GATE, base, tuned, bench.measured(bench.model("twin"), choices, questions))
    told = gates(bench, evaluated)
    assert set(told["measured"]) == {"base", "tuned", "production"}
    assert told["production_weights"] != told["weights"] != told["base_weights"]
    for against in ("base", "production"):
        rows = {score["name"]: score for score in told["scores"] if score["against"] == against}
        assert rows["held-out loss"]["verdict"] == "fail"
    assert told["verdict"] == "fail"
    assert "held-out loss (against production)" in told["reason"]


def test_open_cases_ask_for_as_many_items_as_would_decide(bench: Bench, choices: Resource, questions: Resource) -> None:
    few = tuple(each.model_copy(update={"facts": each.facts | {"max_items": 4}}) for each in (choices, questions))
    sides = [bench.measured(bench.model(name, noise), *few) for name, noise in (("base", 0.0), ("tuned", 0.05))]
    evaluated = evaluate(bench.store, GATE, *sides)
    open_cases = {s["name"]: s for s in gates(bench, evaluated)["scores"] if s["verdict"] == "underpowered"}
    assert open_cases
    larger = enlarged(bench.store, evaluated, few)
    for before, after in zip(few, larger, strict=True):
        score = open_cases.get(before.facts["name"], {"needed_items": None})
        if score["needed_items"]:
            assert after.facts["max_items"] >= score["needed_items"] > 4
        else:
            assert after == before


def test_a_case_open_against_two_models_gets_the_items_that_decide_both(tmp_path: Path) -> None:
    scores = [
        {"name": "choices", "against": against, "verdict": "underpowered", "items": 12, "needed_items": needed}
        for against, needed in (("base", 500), ("production", 200))
    ]
    for order in (scores, scores[::-1]):
        store = Store(str(tmp_path / order[0]["against"]))
        with store.attempt(Identity(stage="evaluation", version=1, config={}, parents=())) as attempt:
            attempt.write_file("gates.json", json.dumps({"scores": order}).encode())
            attempt.counts = Counts(read=0, kept=0)
            evaluated = attempt.commit({})
        asked = benchmark(tmp_path / "choices.jsonl", CHOICES, max_items=12)
        assert [each.facts["max_items"] for each in enlarged(store, evaluated, [asked])] == [550]


def test_later_turns_are_asked_behind_the_models_own_answers(bench: Bench) -> None:
    talk = benchmark(bench.folder / "talk.jsonl", TURNS, kind="mt_bench")
    sides = [bench.measured(bench.model(name, noise), talk) for name, noise in (("base", 0.0), ("tuned", 0.05))]
    items = {row["item_id"]: row for row in bench.store.rows(sides[0], "items") if row["benchmark"] == "talk"}
    assert set(items) == {"2/1", "2/2"}
    answers = bench.answers(sides[0])
    assert answers["talk", "2/1"]["shown"] in items["2/2"]["prompt"]
    assert "Now say it in one word." in items["2/2"]["prompt"]
    gate = Gate(gated=("talk",), investigate=2, fail=5)
    assert evaluate(bench.store, gate, *sides).counts.read == 2 + CONFIG.samples
