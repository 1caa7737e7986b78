"""Predictions averaged over views are the mean of the predictions of each."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fnn.arrays import same
from fnn.data import Dataset
from fnn.errors import UserError
from fnn.features import FEATURES
from fnn.metrics import evaluate
from fnn.network import Spec, design_matrix, init_params, predict
from fnn.views import VIEWS, check, predict_views
from tests.strategies import Case, case_of, seeds

LARGEST_ERROR = {"rtol": 1e-12, "atol": 1e-14}


@st.composite
def pictures(draw: st.DrawFn) -> Case:
    """Networks with square images of 1 to 6 pixels a side."""
    side, hidden = draw(st.integers(1, 6)), draw(st.lists(st.integers(1, 9), max_size=2))
    loss = draw(st.sampled_from(["cross_entropy", "mean_squared_error"]))
    spec = Spec((side**2, *hidden, draw(st.integers(2, 5))), "tanh", loss, dtype="float64")
    return case_of(spec, draw(st.integers(1, 9)), draw(seeds))


def by_hand(x: np.ndarray, views: str) -> list[np.ndarray]:
    """Return the views of images as loops over pixels make them."""
    side = round(x.shape[1] ** 0.5)
    moves = [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)] if views in ("shifts", "both") else [(0, 0)]
    made = []
    for mirror in (False, True) if views in ("flip", "both") else (False,):
        for down, right in moves:
            out = np.zeros((len(x), side, side))
            for i, j in np.ndindex(side, side):
                row, column = i - down, j - right
                if 0 <= row < side and 0 <= column < side:
                    out[:, i, j] = x.reshape(-1, side, side)[:, row, side - 1 - column if mirror else column]
            made.append(out.reshape(len(x), -1))
    return made


@given(pictures(), st.sampled_from(sorted(VIEWS)), st.integers(1, 12))
def test_the_average_is_the_mean_of_the_single_predictions(case: Case, views: str, size: int) -> None:
    single = [predict(case.spec, case.params, seen) for seen in by_hand(case.x, views)]
    assert len(single) == {"none": 1, "flip": 2, "shifts": 5, "both": 10}[views] == len(VIEWS[views])
    found = predict_views(case.spec, case.params, case.x, views, size)
    np.testing.assert_allclose(found, np.mean(single, axis=0), **LARGEST_ERROR)
    assert found.shape == (len(case.x), case.spec.sizes[-1]) and not found.flags.writeable


@given(pictures())
def test_without_other_views_it_is_the_plain_prediction(case: Case) -> None:
    assert same(predict_views(case.spec, case.params, case.x, "none"), predict(case.spec, case.params, case.x))


@given(pictures(), st.sampled_from(sorted(VIEWS)))
def test_an_evaluation_is_of_the_averaged_probabilities(case: Case, views: str) -> None:
    labels = case.targets.argmax(axis=1)
    data = Dataset(design_matrix(case.x, "float64"), labels, case.spec.sizes[-1])
    result, p = (
        evaluate(case.spec, case.params, data, views),
        predict_views(case.spec, case.params, case.x, views),
    )
    np.testing.assert_allclose(result.probabilities, p, **LARGEST_ERROR)
    assert result.accuracy == np.mean(p.argmax(axis=1) == labels)
    hot = np.eye(data.classes)[labels]
    each = -np.log(p[hot == 1]) if case.spec.loss == "cross_entropy" else ((p - hot) ** 2).mean(axis=1)
    np.testing.assert_allclose(result.loss, each.mean(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_certain_network_has_a_finite_loss(dtype: str) -> None:
    """A class of probability zero costs a large but finite loss."""
    spec = Spec((4, 2), dtype=dtype)
    params = init_params(spec, 0)
    theta = np.array([0, 0] * 4 + [1e4, -1e4], dtype)
    data = Dataset(design_matrix(np.zeros((1, 4)), dtype), np.array([1]), 2)
    result = evaluate(spec, type(params)(params.sizes, theta), data, "both")
    assert 80 < result.loss < 1000 and result.accuracy == 0 and result.probabilities.dtype == dtype


def test_views_need_square_images() -> None:
    spec = Spec((6, 2))
    with pytest.raises(UserError, match="--views: expected images as wide as they are high, found 6 pixels"):
        predict_views(spec, init_params(spec, 0), np.zeros((1, 6)), "flip")


@pytest.mark.parametrize("views", ["flip", "shifts", "both"])
def test_features_of_each_view_are_those_of_the_changed_image(views: str) -> None:
    images, spec = np.random.default_rng(0).integers(0, 256, (7, 8, 8), dtype=np.uint8), Spec((104, 5, 3))
    params, row = init_params(spec, 1), FEATURES["gradients"]
    found = predict_views(spec, params, row.extract(images), views, 3, "gradients")
    single = [predict(spec, params, row.extract(view(images))) for view in VIEWS[views]]
    np.testing.assert_allclose(found, np.mean(single, axis=0), rtol=1e-6)


@pytest.mark.parametrize(("features", "width"), [("patches", 14264), ("pyramid", 14264 + 800 * 9)])
def test_what_permutes_features_is_all_that_those_with_a_dictionary_allow(features: str, width: int) -> None:
    check("flip", width, features)
    for views in ("shifts", "both"):
        with pytest.raises(UserError, match=rf"--views: expected features by rules alone.*found {features}"):
            check(views, width, features)
