"""lm-evaluation-harness's tasks: the requests and scores of its own evaluation, and refusals in words."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager

from tasks.artifacts.resource import read_resource
from tasks.benchmarks import KINDS, BenchmarkSource, form_of, load_items, questions
from tasks.benchmarks.item import BenchmarkError, Item, Response

ROWS = [
    {"q": f"Which animal is number {n}?", "c": ["cat", "spider monkey", "ox"], "a": n % 3, "subject": f"s{n % 2}"}
    for n in range(12)
]
CHOICE = {
    "task": "animals",
    "description": "About animals.\n\n",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "data/test.jsonl", "train": "data/train.jsonl"}},
    "test_split": "test",
    "fewshot_split": "train",
    "num_fewshot": 2,
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{q}}\nA:",
    "doc_to_choice": "{{c}}",
    "doc_to_target": "{{a}}",
    "metric_list": [
        {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in ("acc", "acc_norm")
    ],
}
F1 = {"metric": "f1", "aggregation": "f1", "higher_is_better": True}
SUMS = {
    **{key: CHOICE[key] for key in ("dataset_path", "dataset_kwargs", "test_split", "fewshot_split", "num_fewshot")},
    "task": "sums",
    "output_type": "generate_until",
    "doc_to_text": "Q: {{q}}\nA:",
    "doc_to_target": "{{a}}",
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 12},
    "filter_list": [
        {
            "name": "strict",
            "filter": [{"function": "regex", "regex_pattern": "#### (\\d+)"}, {"function": "take_first"}],
        },
        {
            "name": "loose",
            "filter": [
                {"function": "regex", "regex_pattern": "(\\d+)", "group_select": -1},
                {"function": "take_first"},
            ],
        },
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}


def written(folder: Path, *configs: dict[str, Any]) -> Path:
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for split, rows in {"test": ROWS[4:], "train": ROWS[:4]}.items():
        (folder / "data" / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for config in configs:
        (folder / f"{config['task']}.yaml").write_text(yaml.safe_dump(config))
    return folder


def load(folder: Path, **settings: Any) -> list[Item]:
    declared = BenchmarkSource(name="own", kind="harness", uri=str(folder), **settings)
    return load_items(read_resource(declared.uri, facts=declared.reading()))


def number(*texts: str) -> int:
    return int(hashlib.sha256("|".join(texts).encode()).hexdigest()[:8], 16)


def likelihood(prompt: str, choice: str) -> float:
    return -1 - number(prompt, choice) % 1000 / 100


def answer(prompt: str) -> str:
    return ["#### {0}", "it is {0}", "#### 7 no {0}", "none"][number(prompt) % 4].format(number(prompt) % 3)


class Made(LM):  # type: ignore[misc]
    """A model of lm-eval whose answers follow from the prompt."""

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(likelihood(*request.args), False) for request in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [answer(request.args[0]) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise NotImplementedError


def evaluated(folder: Path, task: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What lm-eval itself asks and scores."""
    monkeypatch.chdir(folder)  # where it looks for data files
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    samples: list[dict[str, Any]] = simple_evaluate(
        Made(), tasks=[task], task_manager=manager, bootstrap_iters=0, log_samples=True, verbosity="ERROR"
    )["samples"][task]
    return sorted(samples, key=lambda sample: sample["doc_id"])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_choices_are_asked_and_scored_as_its_own_evaluation_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(tmp_path / "tasks", CHOICE)
    samples = evaluated(folder, "animals", monkeypatch)
    for metric in (None, "acc", "acc_norm"):
        items = load(folder, metric=metric)
        scores = []
        for item, sample in zip(items, samples, strict=True):
            prompt = item.context + item.prompt
            assert list(map(tuple, sample["arguments"])) == [(prompt, each) for each in item.continuations]
            answered = Response(loglikelihoods=tuple(likelihood(prompt, each) for each in item.continuations))
            scores.append(KINDS["harness"].score(item, answered))
        assert scores == [sample[metric or "acc"] for sample in samples]
        assert set(scores) == {0.0, 1.0}
    assert [item.gold[0] for item in items] == [row["a"] for row in ROWS[4:]]
    assert {item.cluster for item in items} == {"s0", "s1"}
    assert items[0].prompt == "Q: Which animal is number 4?\nA:"
    assert items[0].context.startswith("About animals.\n\nQ: ")
    assert load(folder, few_shot=0)[0].context == "About animals.\n\n"
    assert form_of("harness", items[0]) == "choices"
    assert ("own animals 0", "Q: Which animal is number 4?\nA:") in questions(
        read_resource(str(folder), facts=BenchmarkSource(name="own", kind="harness", uri=str(folder)).reading())
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_texts_pass_through_its_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path / "tasks", CHOICE, SUMS)
    samples = evaluated(folder, "sums", monkeypatch)
    for metric, chosen in (("exact_match", "strict"), ("exact_match,loose", "loose"), (None, "strict")):
        items = load(folder, task="sums", metric=metric)
        theirs = [sample for sample in samples if sample["filter"] == chosen]
        for item, sample in zip(items, theirs, strict=True):
            prompt = item.context + item.prompt
            assert sample["arguments"][0][0] == prompt
            assert KINDS["harness"].score(item, Response(text=answer(prompt))) == sample["exact_match"]
    assert len({sample["exact_match"] for sample in samples}) == 2
    assert (items[0].stop, items[0].max_new_tokens, items[0].answer) == (("\n",), 12, str(ROWS[4]["a"]))
    assert form_of("harness", items[0]) == "generation"


def test_changed_data_and_changed_prompts_are_seen(tmp_path: Path) -> None:
    folder = written(tmp_path / "tasks", CHOICE)
    before = load(folder)
    (folder / "data" / "test.jsonl").write_text(json.dumps(ROWS[0] | {"q": "New?"}) + "\n")
    assert [item.prompt for item in load(folder)] == ["Q: New?\nA:"]
    (folder / "animals.yaml").write_text(yaml.safe_dump(CHOICE | {"doc_to_text": "{{q}} Say:"}))
    assert [item.prompt for item in load(folder)] == ["New? Say:"]
    assert len(before) == 8


@pytest.mark.parametrize(
    ("changed", "settings", "words"),
    [
        ({"output_type": "loglikelihood_rolling"}, {}, "output_type is loglikelihood_rolling; multiple_choice and"),
        ({"output_type": "loglikelihood"}, {}, "output_type is loglikelihood; multiple_choice and"),
        ({"output_type": "generate_until_multi_round"}, {}, "task animals cannot be loaded: .*multi_round"),
        ({"repeats": 3}, {}, "repeats is 3; answers are greedy"),
        ({"doc_to_text": "{{a}}", "doc_to_target": "{{q}}"}, {}, "animals 0: its requests have 3 prompts"),
        (
            {"dataset_path": "cais/mmlu"},
            {},
            "the data of animals.yaml are not files beside it",
        ),
        (
            {"dataset_kwargs": {"data_files": {"test": "../x.jsonl"}}},
            {},
            r"data file \.\./x\.jsonl, which is none of",
        ),
        ({"metric_list": [F1]}, {}, "metric f1 gives .*; choose one that is a share"),
        ({}, {"metric": "bleu"}, "metric bleu; better when higher: acc, acc_norm"),
        ({}, {"metric": "acc,strict"}, "has no filter strict; it has none"),
        ({}, {"few_shot": 9}, "task animals with 9 examples cannot be asked: Sample larger"),
        ({}, {"metric": "exact_match"}, "metric exact_match; better when higher: acc, acc_norm"),
        (
            {"metric_list": [F1 | {"metric": "exact_match", "aggregation": "mean"}]},
            {},
            "metric exact_match needs more than the likelihood of each choice",
        ),
        ({}, {"task": "plants"}, "task is plants; its YAML files hold animals"),
        (
            {"include": "../shared.yaml"},
            {},
            r"animals.yaml includes \.\./shared\.yaml, which is none of the benchmark's",
        ),
        ({"include": "/shared.yaml"}, {}, "animals.yaml includes /shared.yaml, which is none of the benchmark's"),
        (
            {"metric_list": [{"metric": "acc", "hf_evaluate": True}]},
            {},
            "has the metric acc, which is none of lm-eval's",
        ),
        ({"metric_list": [{"metric": "./scoring"}]}, {}, "the metric ./scoring, which is none of lm-eval's own"),
        ({"doc_to_target": "{{a * 2}}"}, {}, "animals 1: doc_to_target gives 4, which is none of its 3 choices"),
    ],
)
def test_what_cannot_be_asked_or_scored_is_refused(
    tmp_path: Path, changed: dict[str, Any], settings: dict[str, Any], words: str
) -> None:
    folder = written(tmp_path / "tasks", CHOICE | changed)
    (tmp_path / "shared.yaml").write_text("description: There.")
    with pytest.raises(BenchmarkError, match=words):
        load(folder, **settings)


def test_sampling_several_tasks_and_a_single_file_are_refused(tmp_path: Path) -> None:
    warm = SUMS | {"generation_kwargs": {"until": ["\n"], "do_sample": True, "temperature": 0.7}}
    with pytest.raises(BenchmarkError, match="ask for sampling; set do_sample: false"):
        load(written(tmp_path / "warm", warm))
    with pytest.raises(BenchmarkError, match="task is not set; its YAML files hold animals, sums"):
        load(written(tmp_path / "two", CHOICE, SUMS))
    with pytest.raises(BenchmarkError, match=r"names the data file data/test\.jsonl, .* folder that holds both"):
        load(tmp_path / "two" / "sums.yaml")


def test_without_the_extra_the_way_to_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(BenchmarkError, match=r"need lm-evaluation-harness .*; pip install 'fettle\[harness\]'"):
        load(written(tmp_path / "tasks", CHOICE | {"task": "unseen"}))


def test_code_that_a_task_names_runs_only_where_the_recipe_trusts_it(tmp_path: Path) -> None:
    folder = written(tmp_path / "tasks", {name: value for name, value in CHOICE.items() if name != "doc_to_text"})
    (folder / "utils.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n\ndef text(doc):\n    return doc['q']\n"
    )
    task = folder / f"{CHOICE['task']}.yaml"
    task.write_text(task.read_text() + "doc_to_text: !function utils.text\n")
    with pytest.raises(BenchmarkError, match=r"names code by !function.*set trust_remote_code: true"):
        load(folder)
    assert not (tmp_path / "ran").exists()
    assert load(folder, trust_remote_code=True)
    assert (tmp_path / "ran").exists()


def _named_plainly(task: Path) -> None:
    task.write_text(task.read_text() + "doc_to_text: !function utils.text\n")


def _escaped(task: Path) -> None:
    task.write_text(task.read_text() + "doc_to_text: !%66unction utils.text\n")


def _abbreviated(task: Path) -> None:
    task.write_text("%TAG !f! !func\n---\n" + task.read_text() + "doc_to_text: !f!tion utils.text\n")


def _in_wide_characters(task: Path) -> None:
    task.write_bytes((task.read_text() + "doc_to_text: !function utils.text\n").encode("utf-16"))


def _in_an_included_file(task: Path) -> None:
    (task.parent / "base.cfg").write_text("doc_to_text: !function utils.text\n")
    task.write_text("include: base.cfg\n" + task.read_text())


@pytest.mark.parametrize(
    "named",
    [_named_plainly, _escaped, _abbreviated, _in_wide_characters, _in_an_included_file],
    ids=lambda f: f.__name__,
)
def test_code_runs_in_no_spelling_of_its_tag(tmp_path: Path, named: Callable[[Path], None]) -> None:
    folder = written(tmp_path / "tasks", {name: value for name, value in CHOICE.items() if name != "doc_to_text"})
    (folder / "utils.py").write_text(
        f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n\ndef text(doc):\n    return doc['q']\n"
    )
    named(folder / f"{CHOICE['task']}.yaml")
    with pytest.raises(BenchmarkError, match="names code by !function"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_a_template_does_not_reach_python(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    attack = f"{{{{ cycler.__init__.__globals__.os.system('touch {ran}') }}}} {{{{q}}}}"
    with pytest.raises(BenchmarkError, match=r"'__init__' .* is unsafe"):
        load(written(tmp_path / "tasks", CHOICE | {"doc_to_text": attack}))
    assert not ran.exists()


def test_a_task_may_include_files_of_its_folder(tmp_path: Path) -> None:
    folder = written(tmp_path / "tasks", CHOICE)
    (folder / "more").mkdir()
    (folder / "more" / "base.yaml").write_text("description: From the base.\n")
    (folder / "shared.yaml").write_text("include: more/base.yaml\n")
    task = folder / "animals.yaml"
    task.write_text("include: shared.yaml\n" + task.read_text().replace("description: 'About animals.", "metadata: '"))
    assert load(folder, few_shot=0)[0].context.startswith("From the base.")
    task.write_text(task.read_text() + "broken: [\n")
    with pytest.raises(BenchmarkError, match=r"animals\.yaml cannot be read as YAML: "):
        load(folder)
