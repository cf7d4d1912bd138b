"""A classifier's card is understood by the Hub and by people; no text escapes it and no row of the data is in it."""

import ast
import re
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt

from tasks.reporting.classifier_bounds import MOST_OF_A_NAME
from tasks.reporting.classifier_card import MOST_LABELS, card
from tasks.reporting.classifier_facts import ClassifierFacts
from tasks.reporting.classifier_use import loading
from tests.reporting.classifier_example import EMPTY, FOUR, MANY, SEVENTY_SEVEN, SEVERAL, TEXTS, confused, per_label
from tests.reporting.hostile import SHOWN, hostile
from tests.reporting.markup import Page

MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable("table")


def parted(facts: ClassifierFacts) -> tuple[dict[str, Any], str]:
    """Header and body."""
    _, header, body = card(facts).split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_names_the_task_the_base_and_the_terms() -> None:
    header, _ = parted(FOUR)
    assert header.pop("model-index")
    assert header == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["fettle", "text-classification", "fine-tuned", "full"],
        "base_model": "distilbert/distilbert-base-uncased",
        "base_model_relation": "finetune",
        "license": "other",
        "license_name": "several-see-below",
    }


def test_a_model_made_from_nothing_names_no_base() -> None:
    header, body = parted(SEVENTY_SEVEN)
    assert "base_model" not in header
    assert "A classifier with an encoder of its own, made" in body
    assert "multi-label" in parted(SEVERAL)[0]["tags"]


@pytest.mark.parametrize("facts", [FOUR, SEVENTY_SEVEN, hostile(FOUR), EMPTY], ids=["four", "77", "hostile", "empty"])
def test_the_hubs_own_reader_understands_the_header(facts: ClassifierFacts) -> None:
    data = ModelCard(card(facts)).data
    assert isinstance(data, ModelCardData)
    measured = [facts.models[0]] if facts.models else []
    wanted = [
        round(each.value, 4) for model in measured for each in (model.accuracy, model.macro_f1, model.weighted_f1)
    ]
    assert [result.metric_value for result in data.eval_results or []] == wanted


def test_the_body_tells_scores_labels_data_and_provenance() -> None:
    shown = Page(MARKDOWN.render(parted(FOUR)[1])).text
    told = [
        "69.3% (64.9% to 73.7%)",
        "TF-IDF + logistic regression",
        "Macro-F1 of 69.3% is below that of the model in production",
        "+5.2 (+1.6 to +8.8)",
        "7.5% (2.6% to 19.9%)",
        "8.3% as trained, 2.1% with temperature 1.472",
        "divide the logits by 1.47 before the softmax",
        "It reads the first 128 tokens",
        "missing label",
        "66,365,956",
        "These terms differ",
        FOUR.recipe,
        FOUR.command,
        FOUR.outcome.reason,
        *FOUR.limits,
        *(stage.fingerprint for stage in FOUR.stages),
    ]
    assert [text for text in told if text not in shown] == []


def test_no_row_of_the_data_is_in_the_card() -> None:
    assert not any(text in card(FOUR) or text in card(SEVERAL) for text in TEXTS)


@pytest.mark.parametrize("facts", [FOUR, SEVERAL], ids=["one", "several"])
def test_the_way_to_load_it_is_valid_python(facts: ClassifierFacts) -> None:
    code = re.search(r"```python\n(.*?)```", card(facts), re.DOTALL)
    assert code is not None
    ast.parse(code[1])
    assert "truncation=True" in code[1]


def test_hostile_text_stays_text() -> None:
    header, body = parted(hostile(FOUR))
    page = Page(MARKDOWN.render(body))
    assert not page.tags & {"script", "img", "a", "style", "blockquote"}
    assert page.text.count(SHOWN) > 15
    assert page.text.count(SHOWN[: MOST_OF_A_NAME - 1]) > 25
    assert "base_model" not in header


def test_texts_without_bounds_are_cut() -> None:
    huge = hostile(FOUR, "x" * 100_000).model_copy(update={"recipe": "", "command": ""})
    assert len(card(huge)) < 150_000


def test_of_very_many_labels_the_worst_are_listed() -> None:
    names = [f"label {place:03}" for place in range(MOST_LABELS + 7)]
    many = per_label(confused(names, [9] * len(names), 0.2))
    body = parted(FOUR.model_copy(update={"per_label": many}))[1]
    assert "7 labels that are found better are left out." in body
    assert sum(name in body for name in names) == MOST_LABELS
    assert all(name.replace("_", "\\_") in parted(SEVENTY_SEVEN)[1] for name in MANY)


def test_an_empty_card_says_what_is_missing() -> None:
    _, body = parted(EMPTY)
    assert "Nothing was measured." in body
    assert "- a\n- b" in body
    assert "None are written down." in body
    assert "## Training" not in body


def test_the_code_runs_as_it_stands(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["[UNK]", "[PAD]", "[CLS]", "[SEP]", "[MASK]", "a", "text", "to", "label", ".", "another"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"), model_max_length=16)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8,
        max_position_embeddings=16, id2label=dict(enumerate(FOUR.labels)), label2id={},
    )  # fmt: skip
    for facts in (FOUR, SEVERAL):
        config.problem_type = f"{'multi' if facts.multi_label else 'single'}_label_classification"
        transformers.BertForSequenceClassification(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        exec(loading(facts).replace("path/to/this/model", str(tmp_path)), {})
    one, several = capsys.readouterr().out.splitlines()
    assert one.rsplit(" ", 1)[0] in FOUR.labels
    assert set(ast.literal_eval(several)) <= set(FOUR.labels)
