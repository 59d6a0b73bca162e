import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.student import Projection, fit_projection


def data(count, length, seed=0):
    rng = np.random.default_rng(seed)
    return (
        rng.normal(size=(count, length)) * np.linspace(3, 0.1, length) @ rng.normal(size=(length, length)) + 2
    ).astype("f")


@pytest.mark.parametrize("count,length", [(400, 30), (60, 200)])
@pytest.mark.parametrize("whiten", [0.0, 0.5, 1.0])
def test_projection_is_principal_components(count, length, whiten):
    x = data(count, length)
    projection = fit_projection(x, 10, whiten=whiten)
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:10].T
    expected /= (singular[:10] / np.sqrt(count - 1)) ** whiten
    got = projection.apply(x, renormalise=False)
    assert np.abs(np.abs(got) - np.abs(expected)).max() < 2e-3 * np.abs(expected).max()
    unit = projection.apply(x)
    np.testing.assert_allclose(unit, got / np.linalg.norm(got, axis=1, keepdims=True), atol=1e-5)
    assert unit.dtype == np.float32 and projection.dim == 10 and projection.whiten == whiten
    if whiten == 1:
        np.testing.assert_allclose(np.cov(got.T), np.eye(10), atol=2e-3)


def test_long_descriptors_use_the_gram_matrix():
    x = np.random.default_rng(1).normal(size=(256, 10752)).astype("f")
    projection = fit_projection(x, 64)
    np.testing.assert_allclose(projection.matrix.T @ projection.matrix, np.eye(64), atol=1e-4)
    assert projection.apply(x[:3]).shape == (3, 64)


def test_same_data_same_projection():
    x = data(200, 40)
    a, b = fit_projection(x, 8), fit_projection(x[::-1].copy(), 8)
    np.testing.assert_allclose(a.matrix, b.matrix, atol=1e-3)


def test_refusals():
    with pytest.raises(VprError, match="at least 40"):
        fit_projection(data(39, 60), 10)
    with pytest.raises(VprError, match="span only 4 directions"):
        fit_projection(np.repeat(data(5, 60), 20, axis=0), 8)
    with pytest.raises(VprError, match="not possible"):
        fit_projection(data(100, 6), 7)
    with pytest.raises(VprError, match="NaN"):
        fit_projection(np.full((40, 6), np.nan, "f"), 2)
    with pytest.raises(VprError, match="takes descriptors of 60"):
        fit_projection(data(99, 60), 8).apply(np.zeros((2, 59), "f"))
    with pytest.raises(VprError, match="do not fit"):
        Projection(np.zeros(3, "f"), np.zeros((4, 2), "f"))
