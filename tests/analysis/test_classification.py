"""Numbers of an evaluation against arithmetic by hand, published values and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn import metrics

from dlsuite.analysis.classification import evaluate_logits, wilson_interval
from dlsuite.errors import DlsuiteError

# Probabilities of three classes for six examples; the logits are their logarithms plus a
# shift, which a softmax takes away.
PROBABILITIES = np.array(
    [
        [0.70, 0.20, 0.10],  # a as a
        [0.50, 0.30, 0.20],  # a as a
        [0.15, 0.80, 0.05],  # a as b, wrong
        [0.10, 0.60, 0.30],  # b as b
        [0.90, 0.05, 0.05],  # b as a, wrong
        [0.35, 0.25, 0.40],  # b as c, wrong
    ]
)
LABELS = np.array([0, 0, 0, 1, 1, 1])
SHIFTS = np.array([0, 3, -7, 100, 0.5, -300])[:, None]
NAMES = ("a", "b", "c")
# float32 logits near 300 are spaced by 3e-5
TOLERANCE = 5e-5


@pytest.fixture(scope="module")
def small():
    logits = (np.log(PROBABILITIES) + SHIFTS).astype(np.float32)
    return evaluate_logits(logits, LABELS, class_names=NAMES)


@pytest.fixture(scope="module")
def large():
    """400 examples of 7 classes, one of them without examples."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, 400).astype(np.int32)
    logits = rng.normal(size=(400, 7)).astype(np.float32)
    logits[np.arange(400), labels] += 1.5
    logits[:, 2] = np.round(logits[:, 2])  # ties in a class's ranking
    return evaluate_logits(logits, labels, class_names=tuple("abcdefg")), logits, labels


def test_counts_of_the_small_case(small):
    assert small.num_examples == 6
    assert small.num_classes == 3
    assert small.accuracy == 3 / 6
    assert small.confusion.tolist() == [[2, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert small.support.tolist() == [3, 3, 0]
    assert small.num_mistakes == 3
    assert small.confusions() == [(0, 1, 1), (1, 0, 1), (1, 2, 1)]
    assert small.confusions(1) == [(0, 1, 1)]


def test_top5_needs_more_than_five_classes(small):
    assert small.top5_accuracy is None


def test_likelihood_is_the_mean_of_minus_log_of_the_true_class(small):
    true_class = [0.70, 0.50, 0.15, 0.60, 0.05, 0.25]
    assert small.nll == pytest.approx(-np.mean(np.log(true_class)), abs=TOLERANCE)


def test_likelihood_survives_logits_whose_softmax_underflows():
    result = evaluate_logits(
        np.array([[2000.0, 0.0], [0.0, -1000.0]], np.float32),
        np.array([1, 0]),
        class_names=("a", "b"),
    )
    # the first costs 2000 nat, the second nothing
    assert result.nll == 1000.0


def test_precision_recall_and_f1_by_hand(small):
    np.testing.assert_allclose(small.precision, [2 / 3, 1 / 2, 0])
    np.testing.assert_allclose(small.recall[:2], [2 / 3, 1 / 3])
    assert np.isnan(small.recall[2])  # class c has no examples
    np.testing.assert_allclose(small.f1, [2 / 3, 2 / 5, 0])
    assert small.macro_f1 == pytest.approx((2 / 3 + 2 / 5 + 0) / 3)


def test_a_class_neither_present_nor_predicted_is_left_out_of_the_mean():
    logits = np.array([[1, 0, -5], [0, 1, -5]], np.float32)
    result = evaluate_logits(logits, np.array([0, 1]), class_names=NAMES)
    assert np.isnan([result.precision[2], result.recall[2], result.f1[2]]).all()
    assert result.macro_f1 == 1.0
    classes = result.to_json()["classes"]
    assert classes[2] == {
        "name": "c",
        "support": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "roc_auc": None,
        "average_precision": None,
    }


def test_calibration_error_by_hand(small):
    # confidences .7 .5 .8 .6 .9 .4 lie in bins of their own, right right wrong right wrong wrong
    gaps = [1 - 0.7, 1 - 0.5, 0.8, 1 - 0.6, 0.9, 0.4]
    assert small.expected_calibration_error == pytest.approx(np.mean(gaps), abs=TOLERANCE)


def test_calibration_bins_pool_their_examples():
    # two bins: (0, .5] holds .4 right and .5 wrong, (.5, 1] holds .7 right, .8 right, .9 wrong
    pairs = [(0.4, 1), (0.5, 0), (0.7, 1), (0.8, 1), (0.9, 0)]
    rows, labels = [], []
    for confidence, correct in pairs:
        rest = (1 - confidence) / 2
        rows.append([confidence, rest, rest])
        labels.append(0 if correct else 1)
    result = evaluate_logits(
        np.log(rows), np.array(labels), class_names=NAMES, num_bins=2
    ).reliability
    assert result.counts.tolist() == [2, 3]
    np.testing.assert_allclose(result.confidence, [0.45, 0.8])
    np.testing.assert_allclose(result.accuracy, [0.5, 2 / 3])
    assert result.error == pytest.approx(2 / 5 * 0.05 + 3 / 5 * (0.8 - 2 / 3))


def test_mistakes_are_listed_most_confident_first(small):
    listed = [(m.index, m.true, m.predicted) for m in small.mistakes]
    assert listed == [(4, 1, 0), (2, 0, 1), (5, 1, 2)]
    np.testing.assert_allclose(
        [m.probability for m in small.mistakes], [0.9, 0.8, 0.4], atol=TOLERANCE
    )
    assert small.mistakes[0].name == "4"


def test_mistakes_bear_the_examples_names():
    result = evaluate_logits(
        np.array([[0.0, 2.0], [0.0, 1.0]]),
        np.array([0, 1]),
        class_names=("a", "b"),
        names=["one.png", "two.png"],
        num_mistakes=1,
    )
    assert [m.name for m in result.mistakes] == ["one.png"]


# Newcombe 1998, Statistics in Medicine 17, 857, table I, method 3; four digits are printed.
@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_the_published_values(successes, trials, low, high):
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_all_successes_mirrors_none():
    low, high = wilson_interval(20, 20)
    assert (low, high) == pytest.approx((1 - 0.1611, 1), abs=5e-5)
    assert high <= 1


def test_accuracy_interval_is_the_interval_of_the_correct_count(small):
    assert small.accuracy_interval == wilson_interval(3, 6)


def test_top5_accuracy_agrees_with_scikit_learn(large):
    result, logits, labels = large
    expected = metrics.top_k_accuracy_score(labels, logits, k=5, labels=range(7))
    assert result.top5_accuracy == pytest.approx(expected)


def test_constant_logits_earn_the_first_five_classes_only():
    labels = np.arange(8)
    result = evaluate_logits(np.zeros((8, 8)), labels, class_names=tuple("abcdefgh"))
    assert result.accuracy == 1 / 8
    assert result.top5_accuracy == 5 / 8


def test_class_metrics_agree_with_scikit_learn(large):
    result, logits, labels = large
    predicted = logits.argmax(axis=1)
    assert result.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert (result.confusion == metrics.confusion_matrix(labels, predicted, labels=range(7))).all()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        labels, predicted, labels=range(7), zero_division=np.nan
    )
    np.testing.assert_allclose(result.precision, precision)
    np.testing.assert_allclose(result.recall, recall)
    np.testing.assert_allclose(result.f1, f1)
    assert (result.support == support).all()
    assert result.macro_f1 == pytest.approx(
        metrics.f1_score(labels, predicted, average="macro", zero_division=np.nan)
    )


def test_likelihood_agrees_with_scikit_learn(large):
    result, logits, labels = large
    probabilities = np.exp(logits.astype(float))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    expected = metrics.log_loss(labels, probabilities, labels=range(7))
    assert result.nll == pytest.approx(expected, rel=1e-12)  # both in float64


def test_roc_area_is_the_mann_whitney_statistic(large):
    result, logits, labels = large
    scores = logits - np.log(np.exp(logits.astype(float)).sum(axis=1, keepdims=True))
    for k in range(6):
        positive, negative = scores[labels == k, k], scores[labels != k, k]
        u = mannwhitneyu(positive, negative).statistic
        # a sum of some 400 trapezoids in float64
        expected = u / (len(positive) * len(negative))
        assert result.roc[k].area == pytest.approx(expected, rel=1e-9)
    assert result.roc[6] is None
    assert result.precision_recall[6] is None


def test_average_precision_by_hand():
    # by falling probability of class a: right, wrong, right, right, wrong
    probability = np.array([0.9, 0.8, 0.7, 0.6, 0.1])
    labels = np.array([0, 1, 0, 0, 1])
    result = evaluate_logits(
        np.log(np.stack([probability, 1 - probability], axis=1)), labels, class_names=("a", "b")
    )
    curve = result.precision_recall[0]
    assert curve.area == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    np.testing.assert_allclose(curve.x, [0, 1 / 3, 2 / 3, 1])
    np.testing.assert_allclose(curve.y, [1, 1, 2 / 3, 3 / 4])


def test_average_precision_agrees_with_scikit_learn(large):
    result, logits, labels = large
    scores = logits - np.log(np.exp(logits.astype(float)).sum(axis=1, keepdims=True))
    for k in range(6):
        expected = metrics.average_precision_score(labels == k, scores[:, k])
        assert result.precision_recall[k].area == pytest.approx(expected, rel=1e-9)


def test_roc_by_hand_with_a_tie():
    # class a's probability: .9 right, .7 right and .7 wrong together, .2 wrong
    probability = np.array([0.9, 0.7, 0.7, 0.2])
    logits = np.log(np.stack([probability, 1 - probability], axis=1))
    result = evaluate_logits(logits, np.array([0, 0, 1, 1]), class_names=("a", "b"))
    curve = result.roc[0]
    np.testing.assert_allclose(curve.x, [0, 0, 0.5, 1])
    np.testing.assert_allclose(curve.y, [0, 0.5, 1, 1])
    # of the four pairs three are in order and one is tied
    assert curve.area == pytest.approx(3.5 / 4)


def test_labels_of_a_small_integer_type_do_not_overflow():
    labels = np.arange(40, dtype=np.uint8)
    result = evaluate_logits(np.eye(40), labels, class_names=[str(k) for k in labels])
    assert (result.confusion == np.eye(40)).all()


def test_one_class_alone_has_no_roc():
    result = evaluate_logits(np.array([[1.0, 0.0]]), np.array([0]), class_names=("a", "b"))
    assert result.roc == (None, None)
    assert result.precision_recall[0].area == 1.0
    assert result.precision_recall[1] is None


def test_json_is_plain_and_has_the_headlines_on_top(small):
    import json

    value = json.loads(json.dumps(small.to_json(), allow_nan=False))
    assert value["accuracy"] == 0.5
    assert value["nll"] == small.nll
    assert value["top5_accuracy"] is None
    assert value["confusion_matrix"] == [[2, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert len(value["reliability"]) == 15
    assert value["reliability"][0] == {
        "lower": 0.0,
        "upper": pytest.approx(1 / 15),
        "count": 0,
        "confidence": None,
        "accuracy": None,
    }
    assert value["mistakes"][0]["true"] == "b"
    assert value["mistakes"][0]["predicted"] == "a"


@pytest.mark.parametrize(
    ("logits", "labels", "names", "words"),
    [
        (np.zeros((4, 3)), np.zeros(5, int), NAMES, r"shape=\(4, 3\).*shape=\(5,\)"),
        (np.zeros(3), np.zeros(3, int), NAMES, r"shape \(N, K\).*shape=\(3,\)"),
        (np.zeros((0, 3)), np.zeros(0, int), NAMES, "at least one example.*0 examples"),
        (np.zeros((2, 4)), np.zeros(2, int), NAMES, "4 logits and 3 class names"),
        (np.zeros((2, 3)), np.zeros(2), NAMES, "class indices.*float64.*argmax"),
        (np.zeros((2, 3)), np.array([0, 3]), NAMES, r"0\.\.2 for 3 classes.*from 0 to 3"),
        (np.zeros((2, 3)), np.array([-1, 2]), NAMES, r"0\.\.2.*from -1 to 2"),
    ],
)
def test_what_does_not_fit_is_refused(logits, labels, names, words):
    with pytest.raises(DlsuiteError, match=words):
        evaluate_logits(logits, labels, class_names=names)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = np.zeros((5, 3), np.float32)
    logits[3, 1] = logits[3, 2] = logits[4, 0] = value
    with pytest.raises(DlsuiteError, match=r"2 of 5 examples.*the first at index 3"):
        evaluate_logits(logits, np.zeros(5, int), class_names=NAMES)
