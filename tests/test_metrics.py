from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fnn.data import Dataset, dataset
from fnn.metrics import confusion_matrix, evaluate, hits, precision_and_recall
from fnn.network import Spec, design_matrix, init_params, loss_and_grad, predict
from tests import reference
from tests.strategies import Case, cases, generators

pairs = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=60).map(np.array)


@given(pairs)
def test_confusions_are_counted_by_true_and_predicted_class(drawn: np.ndarray) -> None:
    counts = confusion_matrix(drawn[:, 0], drawn[:, 1], 5)
    assert counts.tolist() == [[sum((drawn == (i, j)).all(axis=1)) for j in range(5)] for i in range(5)]
    precision, recall = precision_and_recall(counts)
    for k in range(5):
        said, is_k = drawn[:, 1] == k, drawn[:, 0] == k
        for value, given_ in ((precision[k], said), (recall[k], is_k)):
            share = np.mean((said & is_k)[given_]) if given_.any() else np.nan
            np.testing.assert_allclose(value, share, rtol=1e-15)


@given(st.integers(2, 5), st.integers(1, 60), st.integers(1, 40), st.sampled_from((0, 0.1)), generators())
def test_a_label_hits_where_it_has_the_first_of_the_largest_logits(
    classes: int, n: int, levels: int, lost: float, rng: np.random.Generator
) -> None:
    logits, labels = rng.integers(0, levels, (classes, n)).astype(np.float32), rng.integers(0, classes, n)
    logits[rng.random(logits.shape) < lost] = np.nan
    assert hits(logits, labels) == np.count_nonzero(np.argmax(logits, axis=0) == labels)


def test_a_tie_doesn_t_stand_for_a_sample_that_is_no_number() -> None:
    assert hits(np.array([[np.nan, 1], [0, 1]]), np.array([1, 1])) == 0


@given(cases())
def test_an_evaluation_is_the_plain_formula(case: Case) -> None:
    labels = case.targets.argmax(axis=1)
    data = Dataset(design_matrix(case.x, "float64"), labels, case.spec.sizes[-1])
    result = evaluate(case.spec, case.params, data)
    hot = np.eye(data.classes)[labels]
    p = reference.softmax(reference.logits(case.spec, case.params.theta, case.x))
    np.testing.assert_allclose(result.probabilities, p, rtol=1e-9, atol=1e-12)
    expected = reference.loss_of_logits(case.spec.loss, np.log(p + 1e-300), hot)
    np.testing.assert_allclose(result.loss, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(result.loss, loss_and_grad(case.spec, case.params, case.x, hot)[0], rtol=1e-12)
    assert result.accuracy == np.mean(result.predictions == labels)
    assert (result.predictions == predict(case.spec, case.params, case.x).argmax(axis=1)).all()


def test_more_samples_than_a_batch_are_all_counted() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2345, 3, 3), np.uint8)
    data, spec = dataset(images, np.arange(2345) % 10, dtype="float64"), Spec((9, 4, 10), dtype="float64")
    params = init_params(spec, 0)
    result = evaluate(spec, params, data)
    logits = reference.logits(spec, params.theta, data.x)
    assert result.accuracy == np.mean(logits.argmax(axis=1) == data.labels)
    np.testing.assert_allclose(result.probabilities, reference.softmax(logits), rtol=1e-12)
