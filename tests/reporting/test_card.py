"""The card's header is what the Hub reads, its body what people read; no text escapes either."""

import ast
import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt

from tasks.reporting.card import card
from tasks.reporting.facts import Facts, LicenceFacts
from tests.reporting.example import BARE, EXAMPLE
from tests.reporting.hostile import SHOWN, hostile
from tests.reporting.markup import Page

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def parted(facts: Facts) -> tuple[dict[str, Any], str]:
    """Header and body."""
    _, header, body = card(facts).split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_names_the_base_and_the_tags() -> None:
    header, _ = parted(EXAMPLE)
    assert header.pop("model-index")
    assert header == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["fettle", "sft", "fine-tuned", "lora"],
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "base_model_relation": "adapter",
        "license": "other",
        "license_name": "several-see-below",
    }


@pytest.mark.parametrize("facts", [EXAMPLE, hostile(EXAMPLE), BARE], ids=["example", "hostile", "bare"])
def test_the_hubs_own_reader_understands_the_header(facts: Facts) -> None:
    data = ModelCard(card(facts)).data
    assert isinstance(data, ModelCardData)
    measured = [s for s in facts.scores if s.against == "base" and s.group in ("benchmark", "loss")]
    results = data.eval_results or []
    assert [(result.dataset_name, result.metric_value) for result in results] == [(s.name, s.tuned) for s in measured]
    assert all(re.fullmatch(r"[a-z0-9.-]+", result.dataset_type) for result in results)
    assert yaml.safe_load(data.to_yaml())["tags"] == parted(facts)[0]["tags"]


def licensed(base: str, **sources: str) -> Facts:
    """The example under other licences."""
    given = {EXAMPLE.base_model: base, **sources}
    return EXAMPLE.model_copy(
        update={"licences": tuple(LicenceFacts(name=name, licence=licence) for name, licence in given.items())}
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (licensed("Apache-2.0"), {"license": "apache-2.0"}),
        (licensed("Apache-2.0", support="apache 2.0", alpaca="unknown", code=""), {"license": "apache-2.0"}),
        (licensed("Apache-2.0", alpaca="CC BY-NC 4.0"), {"license": "other", "license_name": "several-see-below"}),
        (licensed("Acme Research Terms"), {"license": "other", "license_name": "acme-research-terms"}),
        (licensed("unknown", alpaca="MIT"), {}),
        (licensed("", alpaca="MIT"), {}),
        (BARE, {}),
    ],
)
def test_a_licence_is_claimed_only_where_it_is_known_and_no_source_differs(
    facts: Facts, expected: dict[str, str]
) -> None:
    header, _ = parted(facts)
    assert {name: header[name] for name in header if name.startswith("license")} == expected


def test_data_sets_of_the_hub_are_named_in_the_header() -> None:
    origins = (
        "hf://datasets/tatsu-lab/alpaca@0123abc/default/train", "hf://datasets/tatsu-lab/alpaca", "data/support",
        "hf://datasets/org/set", "s3://raw/alpaca.parquet",
    )  # fmt: skip
    given = tuple(LicenceFacts(name="x", licence="unknown", origin=origin) for origin in origins)
    header, _ = parted(EXAMPLE.model_copy(update={"licences": given}))
    assert header["datasets"] == ["tatsu-lab/alpaca", "org/set"]


def test_what_the_model_was_compared_with_is_never_mixed_up() -> None:
    _, body = parted(EXAMPLE)
    base, production = body.split("Against the model that was in production then:")
    assert "| Score | Kind | Base | Tuned |" in base
    assert "| Score | Kind | Production | Tuned |" in production
    assert "58.5%" in production
    assert "58.5%" not in base


def test_how_well_instructions_are_followed_stands_in_the_card() -> None:
    shown = " ".join(Page(MARKDOWN.render(parted(EXAMPLE)[1])).text.split())
    assert "Instructions followed in ifeval (834 in 541 prompts):" in shown
    assert "prompts, strict 17.2% 14.4% prompts, loose 19.6% 16.6% instructions, strict 28.5% 25.7%" in shown
    assert (
        "Lost most, to the letter: length_constraints:number_words 27 → 9 of 52, punctuation:no_comma 14 → 8" in shown
    )


def test_a_void_judgement_shows_no_figures() -> None:
    _, body = parted(EXAMPLE)
    shown = Page(MARKDOWN.render(body)).text
    assert "61.3% (53.1% to 69.4%)" in shown
    assert "The judgement by tiny-judge against production is void: it called 5 of 12 identical pairs unequal" in shown
    assert "1088" not in shown


def test_grades_of_single_answers_stand_in_the_card() -> None:
    _, body = parted(EXAMPLE)
    assert "| prometheus-8x7b | base | 3.41 (3.02 to 3.81) | 3.88 | 2.94 | 78 |" in body
    assert "| prometheus-8x7b | tuned | 4.21 (3.77 to 4.63) | 4.69 |  | 78 |" in body


def test_a_whole_model_from_a_folder_names_no_base_to_the_hub() -> None:
    header, body = parted(BARE)
    assert header["library_name"] == "transformers"
    assert "base_model" not in header
    assert "./models/tiny" in body


def test_the_body_tells_scores_data_settings_and_provenance() -> None:
    _, body = parted(EXAMPLE)
    shown = Page(MARKDOWN.render(body)).text
    told = [
        "−3.2 (−5.6 to −0.8)",
        "3.1 points",
        "en 87.4%, de 10.2%",
        "These terms differ",
        "2.281",
        "52,002",
        "31,670",
        "134,515,008",
        "0.0002",
        "CC BY-NC 4.0",
        EXAMPLE.recipe,
    ]
    told += [*EXAMPLE.limits, EXAMPLE.command, EXAMPLE.outcome.reason, *(stage.fingerprint for stage in EXAMPLE.stages)]
    assert [text for text in told if text not in shown] == []
    assert all(section in shown for section in ("Known limits", "Licences", "Provenance", "Training data"))


@pytest.mark.parametrize("facts", [EXAMPLE, BARE], ids=["adapter", "model"])
def test_the_way_to_load_it_is_valid_python(facts: Facts) -> None:
    code = re.search(r"```python\n(.*?)```", card(facts), re.DOTALL)
    assert code is not None
    ast.parse(code[1])


@pytest.mark.parametrize(("rank", "bound"), [(16, ""), (24, " --max-lora-rank 32"), (64, " --max-lora-rank 64")])
def test_vllm_is_told_of_a_rank_above_its_default(rank: int, bound: str) -> None:
    assert EXAMPLE.training is not None
    training = EXAMPLE.training.model_copy(update={"settings": {"rank": rank}})
    served = card(EXAMPLE.model_copy(update={"training": training}))
    assert f"--lora-modules tuned=path/to/this/adapter{bound}\n" in served


def test_hostile_text_stays_text() -> None:
    header, body = parted(hostile(EXAMPLE))
    html = MARKDOWN.render(body)
    page = Page(html)
    assert not page.tags & {"script", "img", "a", "style", "blockquote"}
    assert page.text.count(SHOWN) > 60
    assert "base_model" not in header


def test_an_empty_card_says_what_is_missing() -> None:
    _, body = parted(BARE)
    assert "Nothing was measured." in body
    assert "None are written down." in body
    assert "## Training data" not in body
    assert "## Licences" not in body
