"""What is known of distances between drives without a common frame, held to the true poses and to plain chains."""

from itertools import pairwise

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform, turn_between, yaw_of
from vpr_ros.training.data.datasets.training_set import TrainingSetSamples
from vpr_ros.training.data.links import CELL_FRAMES, DRIFT, REACH_M, RowPairs
from vpr_ros.training.data.nearness import Nearness
from vpr_ros.training.data.sampling.masks import masks_by_pose
from vpr_ros.training.data.sampling.pairs import PairBatchSampler
from vpr_ros.training.data.sampling.places import PlaceBatchSampler
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training_set import TrainingSetWriter
from vpr_ros.training_set.pairs import DrivePairs, write_pairs

COUNT = 60  # frames of a drive, 2 m apart


def street(offset_m: float, reverse: bool = False) -> list[np.ndarray]:
    """True poses of a drive along a bent street."""
    s = 2.0 * np.arange(COUNT) + offset_m
    yaw = 0.02 * s
    x, y = np.cumsum(2 * np.cos(yaw)), np.cumsum(2 * np.sin(yaw))
    poses = [planar_transform(*pose) for pose in zip(x, y, yaw, strict=True)]
    return [T @ planar_transform(0, 0, np.pi) for T in poses[::-1]] if reverse else poses


class World:
    """A mapped drive, two by odometry (one the other way round), one without poses; pairs are the true ones."""

    def __init__(self, every: int = 7):
        self.true = [street(0.0), street(0.5), street(0.2, reverse=True), street(0.1)]
        kinds = ["map", "odometry", "odometry", "none"]
        self.kinds = np.repeat(kinds, COUNT)
        self.drives = np.repeat(np.arange(4), COUNT)
        begins = [np.eye(4), planar_transform(-90, 40, 2.0), planar_transform(7, -300, -1.0), np.eye(4)]
        stored = [
            [begin @ np.linalg.inv(poses[0]) @ T for T in poses] for begin, poses in zip(begins, self.true, strict=True)
        ]
        stored[0] = self.true[0]
        self.stored = [T for poses in stored for T in poses]
        self.T = [T for poses in self.true for T in poses]
        posed = self.kinds != "none"
        self.positions = np.where(posed[:, None], [T[:2, 3] for T in self.stored], np.nan)
        self.headings = np.where(posed, [yaw_of(T) for T in self.stored], np.nan)
        names = np.array(["town", "by odometry 1", "by odometry 2", ""])
        self.pairs = self.pairs_of(every)
        self.nearness = Nearness.of_drives(
            *(self.positions, self.headings, np.full(4 * COUNT, "town"), names[self.drives], self.drives), self.pairs
        )

    def pairs_of(self, every: int) -> RowPairs:
        rows, T = [], []
        for a in range(4):
            for b in range(a + 1, 4):
                for i in range(0, COUNT, every):
                    one = a * COUNT + i
                    gaps = [np.hypot(*(self.T[one] - self.T[b * COUNT + j])[:2, 3]) for j in range(COUNT)]
                    j = int(np.argmin(gaps))
                    if gaps[j] < 2 and i < COUNT - 25:  # nothing was found near the end of the street
                        rows.append((one, b * COUNT + j))
                        T_a_b = np.linalg.inv(self.T[one]) @ self.T[rows[-1][1]]
                        T.append([T_a_b[0, 3], T_a_b[1, 3], yaw_of(T_a_b)])
        confirmed = np.ones(len(rows), bool)
        confirmed[::5] = False  # doubtful ones
        T = np.where(confirmed[:, None], T, np.nan)
        return RowPairs(np.array(rows), T, confirmed, np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3]]))


@pytest.fixture(scope="module")
def world():
    return World()


def test_the_true_distance_lies_between_least_and_most(world):
    rows = np.arange(4 * COUNT)
    gaps = world.nearness.among(rows)
    known = np.isfinite(gaps.most_m)
    xy = np.array([T[:2, 3] for T in world.T])
    true = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    assert (gaps.least_m[known] <= true[known] + 1e-6).all() and (true[known] <= gaps.most_m[known] + 1e-6).all()
    yaw = np.array([yaw_of(T) for T in world.T])
    assert np.allclose(gaps.turn_rad[known], turn_between(yaw[:, None], yaw[None])[known], atol=1e-6)
    assert np.isnan(gaps.turn_rad[~known]).all()
    for one in (gaps.least_m, gaps.most_m):
        assert np.allclose(one, one.T)
    share = {(a, b): known[world.drives == a][:, world.drives == b].mean() for a in range(4) for b in range(a, 4)}
    assert share[0, 1] > 0.7 and share[1, 2] > 0.7, "odometry carries the pairs along the drives"
    assert 0.02 < share[0, 3] < share[0, 1] and share[3, 3] == pytest.approx(1 / COUNT)


def naive_gap(world, i, j):
    """(least, most) by the frame's own position, or by a chain over a pair nearest along the drive; more than one where
    pairs are equally near, none where there is no chain."""
    ways = [0.0] * len(world.T)
    for a, b in pairwise(range(len(world.T))):
        if world.drives[a] == world.drives[b] and world.kinds[a] != "none":
            ways[b] = ways[a] + float(np.hypot(*(world.stored[b] - world.stored[a])[:2, 3]))
    together = world.drives[i] == world.drives[j] and (world.kinds[i] != "none" or i == j)
    if together:
        d = float(np.hypot(*(world.stored[i] - world.stored[j])[:2, 3]))
        drift = DRIFT * abs(ways[i] - ways[j]) if world.kinds[i] == "odometry" else 0.0
        return [(max(d - drift, 0.0), d + drift)]
    chains = []
    known = world.pairs.confirmed
    pairs = zip(map(tuple, world.pairs.rows[known].tolist()), world.pairs.T_a_b[known], strict=True)
    pairs = [(r, planar_transform(*T)) for r, T in pairs]
    pairs += [(r[::-1], np.linalg.inv(T)) for r, T in pairs]
    for one, other in ((i, j), (j, i)):
        found = []
        for (p, q), T_p_q in pairs:
            same_drive = world.drives[p] == world.drives[one] and (world.kinds[p] != "none" or p == one)
            to_frame = world.drives[q] == world.drives[other] and (world.kinds[q] != "none" or q == other)
            step = abs(ways[p] - ways[one])
            if same_drive and to_frame and step <= REACH_M:
                T_other_one = np.linalg.inv(world.stored[other]) @ world.stored[q] @ np.linalg.inv(T_p_q)
                T_other_one = T_other_one @ np.linalg.inv(world.stored[p]) @ world.stored[one]
                drifting = step * (world.kinds[p] == "odometry")
                drifting += abs(ways[q] - ways[other]) * (world.kinds[q] == "odometry")
                found.append((step, DRIFT * drifting, float(np.hypot(*T_other_one[:2, 3]))))
        chains += [(drift, d) for step, drift, d in found if step <= min(found)[0] + 1e-6]
    return [(max(d - drift, 0.0), d + drift) for drift, d in chains]


def test_gaps_are_those_of_plain_chains(world):
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 4 * COUNT, (2, 300))
    gaps = world.nearness.gaps(a, b)
    chains = [naive_gap(world, int(i), int(j)) for i, j in zip(a, b, strict=True)]
    for k, expected in enumerate(chains):
        got = (gaps.least_m[k], gaps.most_m[k])
        if not expected:
            assert got in ((0.0, np.inf), (np.inf, np.inf))
            continue
        assert any(got == pytest.approx(one, abs=1e-6) for one in expected)
        assert got[1] - got[0] <= max(most - least for least, most in expected) + 1e-6
    assert 50 < sum(map(len, chains)) and [] in chains


def test_what_is_not_listed_is_another_place_only_where_it_was_looked_for(world):
    nearness, first, last = world.nearness, 3 * COUNT, 4 * COUNT - 1  # of the drive without poses
    listed = {tuple(pair) for pair in world.pairs.rows.tolist()}
    gaps = nearness.gaps(last, np.arange(COUNT))
    assert (gaps.least_m[: COUNT - 2 * CELL_FRAMES] == np.inf).all(), "examined, and no pair is near"
    assert nearness.gaps(last, 2 * COUNT + np.arange(COUNT)).unknown(1e6).all(), "these two drives were not examined"
    beside = next(b for a, b in listed if a < COUNT and b > first + 5)
    around = nearness.gaps(np.arange(beside - 3, beside + 4), [a for a, b in listed if b == beside and a < COUNT][0])
    assert not np.isinf(around.least_m).any(), "what lies beside a pair may be its place"
    assert nearness.gaps(first, np.arange(first + 1, last)).unknown(1e6).all(), "of its own drive nothing is known"


def test_neighbours_are_the_near_ones_of_all_rows(world):
    gaps = world.nearness.among(np.arange(4 * COUNT))
    near = gaps.near(5.0) & ~np.eye(4 * COUNT, dtype=bool)
    found = world.nearness.neighbours(5.0)
    assert [one.tolist() for one in found] == [np.flatnonzero(row).tolist() for row in near]
    assert (world.drives[found[10]] != 0).any() and any(len(one) for one in found[3 * COUNT :])


def test_a_selection_knows_what_the_whole_set_knows(world):
    rows = np.random.default_rng(0).permutation(4 * COUNT)[:90]
    part, whole = world.nearness.select(rows).among(np.arange(90)), world.nearness.among(rows)
    for name in ("least_m", "most_m", "turn_rad"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_maps_alone_are_what_they_were():
    rng = np.random.default_rng(3)
    xy, heading, areas = rng.uniform(0, 60, (40, 2)), rng.uniform(-3, 3, 40), rng.choice(["a", "b"], 40)
    maps = Nearness.of_maps(xy, heading, areas)
    drives = Nearness.of_drives(xy, heading, areas, areas, rng.integers(0, 3, 40))
    for one, other in zip(vars(maps.among(range(40))).values(), vars(drives.among(range(40))).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (maps.cells(10.0) == drives.cells(10.0)).all()


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("sets") / "set"
    for drive in range(4):
        with TrainingSetWriter(path, f"drive {drive}", condition=f"light {drive}") as writer:
            for i in range(COUNT):
                row = drive * COUNT + i
                kind = world.kinds[row]
                T = None if kind == "none" else world.stored[row]
                writer.add(row + 1, np.full((4, 4, 3), i, np.uint8), T, poses=kind)
    return path


def pairs_on_disk(world):
    found = []
    for a, b in world.pairs.examined.tolist():
        rows = (world.drives[world.pairs.rows] == [a, b]).all(axis=1)
        confidence = np.where(world.pairs.confirmed[rows], 0.9, 0.2)
        found.append(
            DrivePairs(f"drive {a}", f"drive {b}", world.pairs.rows[rows] % COUNT, world.pairs.T_a_b[rows], confidence)
        )
    return found


def test_a_set_on_disk_gives_batches_across_its_drives(world, folder):
    write_pairs(folder, pairs_on_disk(world))
    samples = TrainingSetSamples(folder)
    rows = np.arange(4 * COUNT)
    both = (world.drives[world.pairs.rows] == [2, 3]).all(axis=1)
    assert both.any(), "the world also has pairs of drives that the file leaves out"
    inside = samples.nearness.among(rows)
    drives = world.drives[:, None] * 4 + world.drives[None]
    listed = ~np.isin(drives, [2 * 4 + 3, 3 * 4 + 2])
    near = world.nearness.among(rows).near(4.4) & listed
    assert (inside.near(4.5)[listed] >= near[listed]).all() and near.sum() > 8 * COUNT
    batches = list(PlaceBatchSampler(samples, 6, 3, steps=4, epochs=1, cities_per_batch=1, seed=2))
    seen = set()
    for keys in batches:
        drawn = np.array([row for row, _, _ in keys])
        seen |= set(samples.drives[drawn].tolist())
        positives, negatives = masks_by_pose(
            samples.nearness.among(drawn), positive_m=4.5, positive_rad=0.5, negative_m=15.0
        )
        assert positives.any(1).all() and negatives.any() and not (positives & negatives).any()
        true = np.array([world.T[row][:2, 3] for row in drawn])
        apart = np.linalg.norm(true[:, None] - true[None], axis=2)
        assert apart[positives.numpy()].max() < 4.6
    assert seen == {f"drive {d}" for d in range(4)}
    pairs = PairBatchSampler(samples, 8, positive_m=4.0)
    crossing = [samples.drives[a] != samples.drives[b] for rows in pairs.batches() for a, b in [rows[:2]]]
    assert any(crossing)


def test_validation_counts_what_is_known(world, folder):
    write_pairs(folder, pairs_on_disk(world))
    samples = TrainingSetSamples(folder).select(world.drives < 2)
    of = {d: np.flatnonzero(samples.drives == f"drive {d}") for d in (0, 1)}
    gaps = samples.nearness.gaps(of[1][:, None], of[0][None])
    asked = gaps.near(10.0, 0.8).any(1)
    assert 0 < asked.sum() < COUNT, "queries behind the last pair have no known truth"
    xy = np.array([world.T[d * COUNT + i][:2, 3] for d in (0, 1) for i in range(COUNT)])
    right = np.column_stack([xy / 50, np.sqrt(np.maximum(0, 20 - ((xy / 50) ** 2).sum(1)))])  # alike where it is near
    assert recall_by_condition(right, samples)["all"] == 1.0
    wrong = right.copy()
    wrong[of[1][asked][:5]] = right[of[0][-1]]
    found = recall_by_condition(wrong, samples)
    assert found["light 1"] == found["all"] == pytest.approx(1 - 5 / asked.sum(), abs=0.2) and found["all"] < 1


def test_pairs_of_frames_that_the_set_has_not_are_refused(world, folder):
    write_pairs(folder, [DrivePairs("drive 0", "drive 1", np.array([[3, 99]]), np.zeros((1, 3)), np.ones(1))])
    with pytest.raises(VprError, match="names frame 99 of drive 'drive 1', which the set has not"):
        TrainingSetSamples(folder)
