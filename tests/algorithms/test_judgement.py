"""Statistics of judgements: coverage by simulation, position bias, length control, ratings."""

import math

import numpy as np
import pytest

from tasks.algorithms.judgement.length_control import length_controlled
from tasks.algorithms.judgement.ratings import Contest, bradley_terry
from tasks.algorithms.judgement.verdicts import Verdict, consistency, contest_score, first_position_rate
from tasks.algorithms.judgement.win_rate import by_prompt, interval, win_rate


def judged(generator: np.random.Generator, prompts: int, ahead: float = 0.4) -> np.ndarray:
    """Both orders' scores (prompts, 2) of a judge who sees one answer's quality twice: dependent orders."""
    quality = generator.normal(ahead, 4.0, size=prompts)
    chances = 1 / (1 + np.exp(-quality))
    return (generator.random((prompts, 2)) < chances[:, None]).astype(float)


def test_the_interval_over_prompts_covers_the_truth_where_one_over_verdicts_does_not() -> None:
    generator = np.random.default_rng(7)
    truth = judged(generator, 2_000_000).mean()
    covered = naively = 0
    runs = 600
    for seed in range(runs):
        orders = judged(generator, 80)
        found = win_rate(orders.mean(axis=1), seed, resamples=400)
        covered += found.low <= truth <= found.high
        low, high = interval(orders.reshape(-1), seed, resamples=400)
        naively += low <= truth <= high
    assert 0.925 <= covered / runs <= 0.975
    assert naively / runs < 0.89


def test_eighty_prompts_resolve_about_ten_points_and_four_hundred_about_five() -> None:
    generator = np.random.default_rng(3)
    for prompts, points in ((80, 10.5), (400, 4.7)):
        scores = generator.choice([0.0, 0.5, 1.0], p=[0.46, 0.08, 0.46], size=prompts)
        assert 100 * win_rate(scores, 0).resolves == pytest.approx(points, abs=1.0)


def test_the_same_seed_gives_the_same_interval() -> None:
    scores = [1.0, 0.0, 0.5, 1.0, 1.0]
    assert win_rate(scores, 1) == win_rate(scores, 1)
    assert 0 <= win_rate(scores, 1).low < 0.7 < win_rate(scores, 1).high <= 1


def test_prompts_that_all_went_alike_are_not_certain() -> None:
    won = win_rate([1.0] * 20, 0)
    assert (won.mean, won.high) == (1.0, 1.0)
    assert won.low == pytest.approx(0.05 ** (1 / 20))
    tied = win_rate([0.5] * 20, 0)
    assert tied.low < 0.5 < tied.high
    assert tied.low == pytest.approx(1 - tied.high)


def test_no_prompts_give_no_rate() -> None:
    with pytest.raises(ValueError, match="at least one prompt"):
        win_rate([], 0)


def test_turns_of_one_prompt_are_one_unit() -> None:
    assert by_prompt(["a", "b", "a"], [1.0, 0.0, 0.5]).tolist() == [0.75, 0.0]


@pytest.mark.parametrize(
    ("forward", "backward", "score"),
    [
        ("second", "first", 1.0),
        ("first", "second", 0.0),
        ("first", "first", 0.5),
        ("second", "second", 0.5),
        ("tie", "tie", 0.5),
        ("tie", "first", 0.75),
        ("first", "tie", 0.25),
    ],
)
def test_a_pair_is_scored_over_both_orders(forward: Verdict, backward: Verdict, score: float) -> None:
    assert contest_score(forward, backward) == score


def test_position_bias_and_consistency() -> None:
    assert first_position_rate(["first", "tie", "first", "second", "first"]) == 0.75
    assert first_position_rate(["tie", "tie"]) is None
    assert consistency([("first", "second"), ("first", "first"), ("tie", "tie"), ("tie", "first")]) == 0.5
    assert consistency([]) is None


def test_length_control_takes_out_what_length_alone_won() -> None:
    generator = np.random.default_rng(5)
    longer_by = generator.normal(300, 400, size=4000)
    merit = 0.3
    steep = np.tanh(longer_by / longer_by.std())
    won = (generator.random(4000) < 1 / (1 + np.exp(-(merit + 1.5 * steep)))).astype(float)
    found = length_controlled(won, longer_by, 0)
    assert found is not None
    assert won.mean() > 0.68
    assert found.mean == pytest.approx(1 / (1 + math.exp(-merit)), abs=0.03)
    assert found.low < 1 / (1 + math.exp(-merit)) < found.high


def test_length_control_covers_the_truth() -> None:
    generator = np.random.default_rng(11)
    truth, covered, runs = 1 / (1 + math.exp(-0.5)), 0, 100
    for seed in range(runs):
        longer_by = generator.normal(100, 300, size=200)
        chances = 1 / (1 + np.exp(-(0.5 + np.tanh(longer_by / longer_by.std()))))
        found = length_controlled((generator.random(200) < chances).astype(float), longer_by, seed, resamples=200)
        assert found is not None
        covered += found.low <= truth <= found.high
    assert covered / runs >= 0.9


def test_length_control_where_lengths_or_outcomes_do_not_differ() -> None:
    level = length_controlled([1.0, 0.0, 0.5, 1.0] * 5, [0.0] * 20, 0)
    assert level is not None
    assert level.mean == pytest.approx(0.625, abs=0.005)
    won = length_controlled([1.0] * 20, np.linspace(-100, 300, 20), 0)
    assert won is not None
    assert 0.95 < won.low <= won.mean <= won.high <= 1
    separated = length_controlled([0.0] * 10 + [1.0] * 10, [-100.0] * 10 + [100.0] * 10, 0)
    assert separated is not None
    assert separated.mean == pytest.approx(0.5, abs=0.02)
    assert length_controlled([1.0] * 9, [0.0] * 9, 0) is None


def contests(generator: np.random.Generator, strengths: dict[str, float], prompts: int) -> list[Contest]:
    names = list(strengths)
    made = []
    for prompt in range(prompts):
        for place, left in enumerate(names):
            for right in names[place + 1 :]:
                chance = 1 / (1 + math.exp(strengths[left] - strengths[right]))
                made.append(Contest(prompt, left, right, float(generator.random() < chance)))
    return made


def test_ratings_find_the_strengths_and_their_intervals_hold_them() -> None:
    strengths = {"base": 0.0, "tuned": 0.8, "production": -0.4}
    made = contests(np.random.default_rng(2), strengths, 1500)
    ratings = bradley_terry(made, list(strengths), 0)
    assert [each.model for each in ratings] == list(strengths)
    assert (ratings[0].elo, ratings[0].low, ratings[0].high) == (1000, 1000, 1000)
    for rating in ratings[1:]:
        truth = 1000 + 400 / math.log(10) * strengths[rating.model]
        assert rating.elo == pytest.approx(truth, abs=25)
        assert rating.low < truth < rating.high
        assert rating.contests == 3000


def test_ratings_do_not_depend_on_the_order_of_the_contests() -> None:
    strengths = {"base": 0.0, "tuned": 0.5, "production": 1.0}
    made = contests(np.random.default_rng(4), strengths, 60)
    there, back = (bradley_terry(each, list(strengths), 0)[2].elo for each in (made, made[::-1]))
    assert there == pytest.approx(back)


def test_a_model_that_never_loses_has_a_finite_rating() -> None:
    made = [Contest(prompt, "base", "tuned", 1.0) for prompt in range(30)]
    rating = bradley_terry(made, ["base", "tuned"], 0)[1]
    assert 1500 < rating.elo < 4000
