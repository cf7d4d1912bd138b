"""Baselines learn what is easy, and survive what training sets are like."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tasks.algorithms.classification.baselines import TextBaseline, linear_probe, majority
from tasks.algorithms.classification.scores import decide, right
from tests.algorithms.classification.matrices import one_hot
from tests.algorithms.classification.topics import TOPICS, texts


def test_majority_tells_the_shares_of_the_labels() -> None:
    found = majority(one_hot([0, 0, 0, 1], 3), 2)
    assert found.tolist() == [[0.75, 0.25, 0], [0.75, 0.25, 0]]
    several = majority(np.array([[True, True], [True, False]]), 1)
    assert several.tolist() == [[1, 0.5]]


def test_majority_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least one row"):
        majority(np.empty((0, 2), np.bool_), 3)


@pytest.mark.parametrize("multi_label", [False, True])
def test_topics_told_by_their_words_are_learnt(multi_label: bool) -> None:
    written, truth = texts(240)
    found = TextBaseline(TOPICS, multi_label=multi_label).fit(written[:160], truth[:160]).probabilities(written[160:])
    assert right(truth[160:], decide(found, multi_label)).mean() > 0.95


def test_several_labels_a_text() -> None:
    written, truth = texts(200)
    both = [f"{one}\n\n{other}" for one, other in zip(written, written[1:] + written[:1], strict=True)]
    labels = truth | np.roll(truth, -1, axis=0)
    found = TextBaseline(TOPICS).fit(both[:150], labels[:150]).probabilities(both[150:])
    assert right(labels[150:], decide(found, True)).mean() > 0.9


def test_it_is_scikit_learns_model_of_the_same_words() -> None:
    written, truth = texts(60)
    vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+")
    model = LogisticRegression(C=10, max_iter=500).fit(vectors.fit_transform(written), truth.argmax(1))
    found = TextBaseline(TOPICS).fit(written, truth).probabilities(written[:5])
    assert np.allclose(found, model.predict_proba(vectors.transform(written[:5])), atol=1e-3)


def test_one_label_alone_is_always_the_answer() -> None:
    found = TextBaseline(["a", "b"]).fit(["one", "two"], one_hot([0, 0], 2)).probabilities(["three"])
    assert found.tolist() == [[1, 0]]


def test_labels_that_no_row_or_every_row_bears_have_their_share() -> None:
    truth = np.array([[True, False, True], [True, False, False], [True, False, True], [True, False, False]])
    baseline = TextBaseline(["all", "none", "some"]).fit(["red", "blue", "red", "blue"], truth)
    found = baseline.probabilities(["red", "blue"])
    assert found[:, :2].tolist() == [[1, 0], [1, 0]]
    assert found[0, 2] > 0.5 > found[1, 2]


def test_a_label_of_one_row_keeps_its_place() -> None:
    written, truth = texts(40, topics=2)
    wide = np.zeros((41, 4), np.bool_)
    wide[:40, [0, 3]], wide[40, 2] = truth, True
    found = TextBaseline(list("abcd")).fit([*written, "zebra zebra"], wide).probabilities(["zebra", TOPICS[1]])
    assert found.sum(1) == pytest.approx([1, 1])
    assert found.argmax(1).tolist() == [2, 3]
    assert (found[:, 1] == 0).all()


@pytest.mark.parametrize("marks", [["", "", ""], ["!!!", "...", "—"], ["\n", "\t", "\x00"]])
def test_texts_without_a_word_leave_the_shares(marks: list[str]) -> None:
    baseline = TextBaseline(["a", "b"]).fit(marks, one_hot([0, 0, 1], 2))
    assert baseline.probabilities(["word", ""]) == pytest.approx(np.array([[2 / 3, 1 / 3]] * 2))


def test_stop_words_are_words() -> None:
    found = TextBaseline(["a", "b"]).fit(["the of", "and a"] * 4, one_hot([0, 1] * 4, 2)).probabilities(["of", "a"])
    assert decide(found, False).tolist() == [[True, False], [False, True]]


def test_every_sign_of_a_script_without_spaces_is_a_word() -> None:
    written = ["我的卡丢了", "贷款利率是多少", "卡在哪里丢的", "现在的利率"]
    found = TextBaseline(["card", "loan"]).fit(written, one_hot([0, 1, 0, 1], 2)).probabilities(["丢卡", "利率高"])
    assert found.argmax(1).tolist() == [0, 1]


def test_texts_of_a_hundred_thousand_words() -> None:
    random = np.random.default_rng(1)
    long = [" ".join(f"w{word}" for word in random.integers(0, 50_000, 100_000)) for _ in range(2)]
    found = TextBaseline(["a", "b"]).fit(long, one_hot([0, 1], 2)).probabilities(long)
    assert found.argmax(1).tolist() == [0, 1]


def test_the_same_rows_give_the_same_probabilities() -> None:
    written, truth = texts(50)
    one, other = (TextBaseline(TOPICS).fit(written, truth).probabilities(written) for _ in range(2))
    assert (one == other).all()


def test_fitting_again_forgets() -> None:
    written, truth = texts(40)
    baseline = TextBaseline(TOPICS).fit(written, truth).fit(["..."], one_hot([1], 4))
    assert baseline.probabilities([written[0]]).tolist() == [[0, 1, 0, 0]]


def test_no_text_to_tell_about() -> None:
    written, truth = texts(40)
    assert TextBaseline(TOPICS).fit(written, truth).probabilities([]).shape == (0, 4)


def test_texts_and_truth_must_match() -> None:
    with pytest.raises(ValueError, match="2 texts and 2 labels, but a truth of shape"):
        TextBaseline(["a", "b"]).fit(["one", "two"], one_hot([0], 2))


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_probe_reads_features_of_any_scale(multi_label: bool) -> None:
    random = np.random.default_rng(3)
    truth = one_hot(random.integers(0, 3, 400), 3)
    features = (truth @ random.normal(0, 1, (3, 16)) + random.normal(0, 0.4, (400, 16))).astype(np.float32)
    features *= np.logspace(-4, 4, 16, dtype=np.float32)
    features[:, 5] = 7  # tells nothing, and has no spread to be divided by
    found = linear_probe(features[:300], truth[:300], features[300:], multi_label=multi_label)
    assert right(truth[300:], decide(found, multi_label)).mean() > 0.9


def test_a_probe_of_one_label_and_of_no_rows() -> None:
    features = np.ones((3, 2), np.float32)
    assert linear_probe(features, one_hot([1, 1, 1], 2), features[:1]).tolist() == [[0, 1]]
    assert linear_probe(features, one_hot([1, 0, 1], 2), features[:0]).shape == (0, 2)
