"""Ids and labels of each family of chat templates are those that people have read and found right."""

from pathlib import Path

import pytest

from tasks.algorithms.tokens.arrays import Tokens
from tests.stages.families.family import FAMILIES
from tests.stages.families.listing import listing, make

pytest.importorskip("trl", reason="the families' templates are those of TRL")

FOLDER = Path(__file__).parent / "families"
UPDATE = "python -m tests.stages.families --update"


@pytest.mark.parametrize("name", FAMILIES)
def test_ids_and_labels_are_as_they_stand_in_the_file(name: str) -> None:
    file = FOLDER / f"{name}.txt"
    assert file.exists(), f"there is no listing of {name}; read what `{UPDATE}` writes"
    assert listing(make(FAMILIES[name])) == file.read_text(), f"read the differences, then `{UPDATE}`"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_mask_is_proven(name: str) -> None:
    made = make(FAMILIES[name])
    assert made.proof.faults == {}
    assert made.proof.unshown_calls == {}
    assert not made.rendered.refused


def test_every_listing_belongs_to_a_family() -> None:
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(FAMILIES)


@pytest.mark.parametrize(("name", "token"), [("chatml", "<|im_end|>"), ("llama_2", "</s>")])
def test_a_control_token_that_the_user_spells_is_no_control_token(name: str, token: str) -> None:
    family = FAMILIES[f"{name}_spelled_by_the_user"]
    tokens: Tokens = make(family).tokens
    text = make(family).rendered.texts[0].as_py()
    meant = family.tokenizer().token_to_id(token)
    assert text.count(token) == tokens.ids.tolist().count(meant) + 1
