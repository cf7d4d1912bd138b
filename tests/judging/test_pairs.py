"""What is put before the judge: sentinels whose verdict is known, references where they are, pairs of every turn."""

from typing import Any

import pytest

from tasks.judging.pairs import Prompt, drawn, gradings, pairs, read_prompts, sentinels, spoiled
from tests.judging.making import HELDOUT, item


def prompt(number: int, answer: str, sound: str = "", **changes: Any) -> Prompt:
    answers = {"base": (f"base {answer}",), "tuned": (answer,)}
    given = {"category": "ours", "turns": ("Why?",), "references": (), "is_graded": False, **changes}
    return Prompt(benchmark=HELDOUT, prompt_id=f"row-{number}", answers=answers, sound=sound, **given)


LONG = "Freeze the card in the app, then call us and we send you a new one."


def test_a_spoiled_answer_is_half_of_the_words_in_disorder() -> None:
    made = spoiled(LONG, 0)
    assert made != spoiled(LONG, 1)
    assert made == spoiled(LONG, 0)
    assert len(made.split()) == len(LONG.split()) // 2
    assert set(made.split()) <= set(LONG.split())
    assert made not in LONG
    assert spoiled("Yes, of course.", 0) == ".esruoc fo ,seY"


def test_half_of_the_sentinels_are_equal_and_half_spoiled_of_sound_answers_first() -> None:
    prompts = [prompt(number, "tuned words of no use to anybody at all") for number in range(6)]
    prompts += [prompt(number, "tuned", sound=f"{number} {LONG}") for number in range(6, 9)]
    made = sentinels(prompts, "tuned", 4, 0)
    assert [each.sentinel for each in made] == ["spoiled", "equal", "spoiled", "equal"]
    assert sum(LONG in each.answers[0][0] for each in made) == 3
    for each in made:
        left, right = each.answers
        assert (left == right) is (each.sentinel == "equal")
        assert not each.is_settled
    assert sentinels(prompts, "tuned", 4, 0) == made


@pytest.mark.parametrize("answer", ["", "  ", "a", "otto", "...", " 11 "])
def test_an_answer_that_cannot_be_spoiled_makes_no_sentinel(answer: str) -> None:
    assert sentinels([prompt(0, answer)], "tuned", 4, 0) == []


def test_every_two_models_meet_on_every_turn() -> None:
    answers = {"base": ("a", "b"), "production": ("a", "c"), "tuned": ("d", "b")}
    one = Prompt("mt", "81", "writing", ("1?", "2?"), answers, (), "", True)
    made = pairs([one], list(answers))
    assert [(each.turn, each.left, each.right) for each in made] == [
        (turn, left, right)
        for turn in (1, 2)
        for left, right in (("base", "production"), ("base", "tuned"), ("production", "tuned"))
    ]
    assert [each.is_settled for each in made] == [True, False, False, False, False, False]
    assert [(each.turn, each.model) for each in gradings([one], ["base", "tuned"])] == [
        (1, "base"), (1, "tuned"), (2, "base"), (2, "tuned"),
    ]  # fmt: skip
    assert gradings([prompt(0, "a")], ["base"]) == []


def test_the_data_sets_own_answer_is_no_reference_and_a_benchmarks_is() -> None:
    items = [
        item("row", "Why?", answer="Because."),
        item("sum", "2 + 2?", benchmark="sums", kind="generation", answer="4"),
        item("pick", "Which?", benchmark="sums", form="choices"),
    ]
    rows = [{**each, "prompt_sha256": each["prompt"], "shown": "x"} for each in items]
    found = read_prompts(items, {"base": rows, "tuned": rows}, [HELDOUT, "sums"], HELDOUT)
    assert [(each.prompt_id, each.references, each.sound) for each in found] == [
        ("row", (), "Because."),
        ("sum", ("4",), "4"),
    ]


def test_the_drawn_stay_drawn_when_others_come() -> None:
    some = [prompt(number, "a") for number in range(50)]
    first = [each.prompt_id for each in drawn(some, 10, 0)]
    kept = [each.prompt_id for each in drawn([*some, *(prompt(number, "a") for number in range(50, 55))], 10, 0)]
    assert len(set(first) & set(kept)) >= 5
    assert [each for each in kept if each in first] == [each for each in first if each in kept]
