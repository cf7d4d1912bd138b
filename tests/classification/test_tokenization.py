"""Tokenize: the ids that the published model's own tokenizer gives, and the places of the labels."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from tasks.artifacts.manifest import Artifact
from tasks.artifacts.resource import Resource, ResourceError, read_resource
from tasks.artifacts.store import Store
from tasks.classification.tokenization import LabelledTokenizationConfig, tokenize
from tests.classification.making import TOPICS, Text, artifact, facts, mixed, rows, some

ODD = ["Žluťoučký kůň", "汉字和假名", "😀👩\u200d👩\u200d👧 ok", "a\tb\n\nc", "e\u0301 [SEP] [CLS]", "\x00\x07 x", "?"]
LABELS = ["loan", "card"]


def word_piece(folder: Path, positions: int = 512, **config: Any) -> Resource:
    """A model folder with a WordPiece tokenizer, as BERT has."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    corpus = [row.text for label in TOPICS for row in some(label, 40)]
    made.train_from_iterator(
        corpus, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    # What was saved with padding and truncation on must not come through.
    made.enable_padding(length=16)
    made.enable_truncation(7)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    named = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    read = ["input_ids", "token_type_ids", "attention_mask"]
    known = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": read, **named}
    (folder / "tokenizer_config.json").write_text(json.dumps(known))
    told = {"model_type": "bert", "max_position_embeddings": positions, **config}
    (folder / "config.json").write_text(json.dumps(told))
    return read_resource(str(folder))


@pytest.fixture(scope="module")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Resource:
    return word_piece(tmp_path_factory.mktemp("model") / "bert")


def given(*more: Text) -> list[Text]:
    one = [*some("card", 8, "train"), *some("loan", 8, "train"), *some("card", 3, "validation", 50)]
    return [*one, *some("loan", 2, "test", 90), *more]


def tokenized(store: Store, made: Artifact, base_model: Resource, max_length: int | None = None) -> Artifact:
    return tokenize(store, LabelledTokenizationConfig(max_length=max_length), made, base_model)


@pytest.mark.parametrize("max_length", [5, 12, 64, 512])
def test_ids_are_those_of_the_models_own_tokenizer(store: Store, base_model: Resource, max_length: int) -> None:
    from transformers import AutoTokenizer

    odd = [Text(text, "card", "train") for text in ODD]
    pairs = [Text(row.text, "loan", "train", pair=row.text[::-1] * times) for times, row in enumerate(some("open", 6))]
    rows_given = given(*odd, *pairs, Text("card lost " * 40, "card", "train", pair="loan rate " * 50))
    made = tokenized(store, mixed(store, rows_given, LABELS), base_model, max_length)
    own: Any = AutoTokenizer.from_pretrained(base_model.folder)
    for side in ("train", "validation"):
        expected = [row for row in rows_given if row.split == side]
        found = rows(store, made, side)
        assert len(found) == len(expected)
        for row, text in zip(found, expected, strict=True):
            said = own(text.text, text.pair or None, truncation=True, max_length=max_length)
            assert row["input_ids"] == said["input_ids"]
            assert row["token_type_ids"] == said["token_type_ids"]
            assert row["labels"] == [LABELS.index(str(text.labels))]
    assert max(map(max, (row["token_type_ids"] for row in rows(store, made, "train")))) == 1


def test_rows_keep_their_ids_and_the_test_side_is_left_alone(store: Store, base_model: Resource) -> None:
    source = mixed(store, given(), LABELS)
    made = tokenized(store, source, base_model)
    for side in ("train", "validation"):
        assert [row["id"] for row in rows(store, made, side)] == [row["id"] for row in rows(store, source, side)]
    assert "test" not in made.tables
    assert (made.counts.read, made.counts.kept) == (19, 19)


def test_labels_are_their_places_and_there_may_be_any_number(store: Store, base_model: Resource) -> None:
    several = [Text("a b", ("card", "loan"), "train"), Text("c d", (), "train"), Text("e f", ("card",), "validation")]
    made = tokenized(store, mixed(store, several, LABELS), base_model)
    assert [row["labels"] for row in rows(store, made, "train")] == [[0, 1], []]
    assert [row["labels"] for row in rows(store, made, "validation")] == [[1]]


def test_a_text_of_a_hundred_thousand_words_is_cut_counted_and_warned_of(store: Store, base_model: Resource) -> None:
    long = Text("card " * 100_000, "card", "train", source="books")
    made = tokenized(store, mixed(store, given(long), LABELS), base_model, 32)
    assert sorted(len(row["input_ids"]) for row in rows(store, made, "train"))[-1] == 32
    (whole,) = [row for row in rows(store, made, "train") if len(row["input_ids"]) == 32]
    assert whole["input_ids"][-1] == 3
    found = facts(store, made)
    assert (found["cut"], found["max_length"]) == (1, 32)
    assert found["cut_by_source"] == [{"source": "books", "rows": 1}]
    assert found["lengths"][0]["longest"] == max(row["tokens"] for row in rows(store, made, "lengths")) >= 100_002
    (warning,) = made.warnings
    assert warning.startswith("1 of 20 texts (5%) are longer than 32 tokens, and only their beginning is read")
    assert "100,00" in warning
    assert tokenized(store, mixed(store, given(), LABELS), base_model, 128).warnings == ()


def test_a_length_that_the_model_does_not_hold_is_refused(tmp_path: Path, store: Store) -> None:
    data = mixed(store, given(), LABELS)
    small = word_piece(tmp_path / "small", 48)
    with pytest.raises(ValueError, match="max_length is 49, but the model holds 48 tokens; lower it"):
        tokenized(store, data, small, 49)
    assert facts(store, tokenized(store, data, small, 48))["max_length"] == 48
    for positions, config, expected in (
        (48, {}, 48),
        (4096, {}, 512),
        (514, {"model_type": "roberta"}, 512),
        (130, {"model_type": "xlm-roberta"}, 128),
    ):
        model = word_piece(tmp_path / f"{positions}{len(config)}{expected}", positions, **config)
        made = tokenized(store, data, model)
        assert rows(store, made, "settings") == [{"max_length": expected}]
    with pytest.raises(ValueError, match="max_length is 129, but the model holds 128 tokens"):
        tokenized(store, data, model, 129)


def test_a_model_that_was_made_here_is_read_from_the_store(store: Store, base_model: Resource) -> None:
    files = {f"model/{name}": Path(path).read_bytes() for name, path in base_model.paths.items()}
    made_here = artifact(store, "encoder", {}, files=files)
    data = mixed(store, given(), LABELS)
    outside = tokenized(store, data, base_model)
    assert tokenize(store, LabelledTokenizationConfig(), data, made_here).content == outside.content


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, store: Store) -> None:
    whole = word_piece(tmp_path / "model")
    for name in ("tokenizer.json", "config.json"):
        part = whole.only(*(each for each in whole.files if each != name))
        with pytest.raises(ResourceError, match=f"holds no {name}; give a whole model folder"):
            tokenized(store, mixed(store, given(), LABELS), part)
