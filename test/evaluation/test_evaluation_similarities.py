"""The matrix of similarities: an even sample of a drive, blocks of keyframes, a file that is refused when damaged."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.evaluation.similarities import SimilarityGatherer, read_similarities, write_similarities


class Map:
    """Keyframes with known descriptors, and the query that was answered last."""

    def __init__(self, keyframes: int, dim: int = 6):
        self.vectors = np.random.default_rng(keyframes).normal(size=(keyframes, dim)).astype(np.float32)
        self.last_query = self.vectors[0]
        self.largest = 0

    def __len__(self):
        return len(self.vectors)

    def similarities(self, queries, rows):
        self.largest = max(self.largest, len(rows))
        return self.vectors[rows] @ queries


def drive(place_map, frames, limit=400):
    queries = np.random.default_rng(7).normal(size=(frames, place_map.vectors.shape[1])).astype(np.float32)
    gatherer = SimilarityGatherer(limit)
    for query in queries:
        place_map.last_query = query
        gatherer.add(place_map)
    return queries, gatherer.matrix(place_map)


def test_a_small_run_is_kept_whole():
    place_map = Map(17)
    queries, matrix = drive(place_map, 11)
    np.testing.assert_array_equal(matrix.frames, np.arange(11))
    assert (matrix.step, matrix.keyframes) == (1, 17)
    np.testing.assert_allclose(matrix.values, queries @ place_map.vectors.T, atol=0.01)


@pytest.mark.parametrize("frames, keyframes", [(40, 95), (17, 16), (161, 7)])
def test_a_large_run_is_sampled_evenly_and_in_blocks(frames, keyframes):
    place_map = Map(keyframes)
    queries, matrix = drive(place_map, frames, limit=10)
    assert len(matrix.frames) <= 10 and len(set(np.diff(matrix.frames))) <= 1
    assert matrix.frames[0] == 0 and frames - matrix.frames[-1] <= 2 * np.diff(matrix.frames)[0]
    assert matrix.values.shape[1] <= 10
    for r, frame in enumerate(matrix.frames):
        for c in range(matrix.values.shape[1]):
            block = place_map.vectors[c * matrix.step : (c + 1) * matrix.step]
            assert matrix.values[r, c] == pytest.approx(float((block @ queries[frame]).max()), abs=0.01)


def test_ten_thousand_by_ten_thousand_needs_little():
    place_map = Map(10_007)
    _, matrix = drive(place_map, 10_000)
    assert max(matrix.values.shape) <= 400 and place_map.largest <= 4096
    assert matrix.values.shape[1] == -(-10_007 // matrix.step)


def test_nothing_answered_is_no_matrix():
    assert SimilarityGatherer().matrix(Map(3)) is None


def test_the_file_brings_it_back_and_others_are_refused(tmp_path):
    path = tmp_path / "similarities.npz"
    assert read_similarities(path) is None
    _, matrix = drive(Map(95), 40, limit=10)
    write_similarities(path, matrix)
    back = read_similarities(path)
    np.testing.assert_array_equal(back.values, matrix.values)
    np.testing.assert_array_equal(back.frames, matrix.frames)
    assert (back.keyframes, back.step) == (matrix.keyframes, matrix.step)
    whole = path.read_bytes()
    for damaged in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(VprError, match="no matrix of similarities"):
            read_similarities(path)
    np.savez(path, values=np.zeros((2, 3)), frames=np.arange(5), keyframes=3, step=1)
    with pytest.raises(VprError, match="sizes differ"):
        read_similarities(path)
    np.savez(path, values=np.array([{}], dtype=object), frames=np.arange(1), keyframes=1, step=1)
    with pytest.raises(VprError, match="no matrix"):
        read_similarities(path)
