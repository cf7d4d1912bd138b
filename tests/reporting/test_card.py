"""The card's header is what the Hub reads, its body what people read; no text escapes either."""

import ast
import re
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tasks.reporting.card import card
from tasks.reporting.facts import Facts
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
    assert header == {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["fettle", "sft", "fine-tuned", "lora"],
        "base_model": "HuggingFaceTB/SmolLM2-135M",
        "base_model_relation": "adapter",
    }


def test_a_whole_model_from_a_folder_names_no_base_to_the_hub() -> None:
    header, body = parted(BARE)
    assert header["library_name"] == "transformers"
    assert "base_model" not in header
    assert "./models/tiny" in body


def test_the_body_tells_scores_data_settings_and_provenance() -> None:
    _, body = parted(EXAMPLE)
    shown = Page(MARKDOWN.render(body)).text
    told = ["−3.2 (−5.6 to −0.8)", "2.281", "52,002", "31,670", "134,515,008", "0.0002", "CC BY-NC 4.0", EXAMPLE.recipe]
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
