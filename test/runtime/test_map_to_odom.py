"""map -> odom from verified poses: fusion against a naive optimiser, gate, recovery, holding, smoothness."""

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation
from scipy.stats import chi2

from vpr_ros.geometry import invert, planar_transform, rigid_transform, rotation_angle, yaw_of
from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig
from vpr_ros.runtime.map_to_odom.follower import Follower
from vpr_ros.runtime.map_to_odom.smoothing import SmoothTransform
from vpr_ros.runtime.map_to_odom.track import GATES, MapPose, Track, map_to_odom, stds

SECOND_NS = 1_000_000_000
PERIOD_NS = SECOND_NS // 4
START_NS = 1_700_000_000 * SECOND_NS
T_MAP_ODOM = planar_transform(100.0, -40.0, 2.0)  # the truth of the drives below
COVARIANCE = np.diag([0.1, 0.1, 0.2, 0.01, 0.01, 0.01]) ** 2


def tilted(rng, angle_rad=0.3, metres=5.0):
    return rigid_transform(Rotation.from_rotvec(rng.normal(0, angle_rad, 3)).as_matrix(), rng.normal(0, metres, 3))


def random_covariance(rng, std_m, std_rad):
    a = rng.normal(size=(6, 6)) * np.array([std_m] * 3 + [std_rad] * 3)[:, None]
    return a @ a.T


def perturbed(T, error):
    """A pose with an error in the map's axes at the robot: metres, rotation vector."""
    return rigid_transform(Rotation.from_rotvec(error[3:]).as_matrix() @ T[:3, :3], T[:3, 3] + error[:3])


def difference(T, T_from):
    turn = Rotation.from_matrix(T[:3, :3] @ T_from[:3, :3].T).as_rotvec()
    return np.concatenate([T[:3, 3] - T_from[:3, 3], turn])


# Fusion


@pytest.mark.parametrize("planar", [True, False])
def test_fusion_is_the_optimum_of_both_poses(planar):
    """Naive: drive the prior's error through the composition of poses by finite differences, add the drift, and let an
    optimiser weigh the moved prior against the new pose."""
    rng = np.random.default_rng(3)
    config = MapToOdomConfig(planar=planar, odom_drift=0.02)
    if planar:
        from_odom, to_odom = planar_transform(3.0, -2.0, 0.4), planar_transform(11.0, 1.0, 0.9)
        first = planar_transform(40.0, 7.0, -1.1)
        axes, noise = [0, 1, 5], np.diag([0.1, 0.15, 0, 0, 0, 0.02])
        error = np.array([0.15, -0.1, 0.0, 0.0, 0.0, 0.02])
    else:
        from_odom, to_odom, first = tilted(rng), tilted(rng), tilted(rng, 1.0, 30.0)
        axes, noise = list(range(6)), np.diag([0.1, 0.15, 0.2, 0.01, 0.02, 0.02])
        error = np.array([0.15, -0.1, 0.1, 0.01, -0.01, 0.02])
    prior = random_covariance(rng, 0.1, 0.01)
    track = Track(config, START_NS, from_odom, MapPose(first, prior))
    track.moved(to_odom)
    step = invert(from_odom) @ to_odom
    pose = MapPose(perturbed(first @ step, error), noise**2)

    def floor(std_m, std_rad):
        return np.diag([std_m**2] * 3 + [std_rad**2] * 3)

    covariance = prior + floor(config.pose_floor_m, config.pose_floor_rad)
    h = 1e-6
    jacobian = np.stack(
        [difference(perturbed(first, h * e) @ step, first @ step) / h for e in np.eye(6)],
        axis=1,
    )
    way, turn = np.linalg.norm(step[:3, 3]), float(rotation_angle(np.eye(3), step[:3, :3]))
    moved = jacobian[np.ix_(axes, axes)] @ covariance[np.ix_(axes, axes)] @ jacobian[np.ix_(axes, axes)].T
    drift = floor(0.02 * way, 0.02 * (way / config.drift_turn_m + turn))[np.ix_(axes, axes)]
    assert np.allclose(track.covariance, moved + drift, rtol=1e-3, atol=1e-9)
    assert track.travelled_m == pytest.approx(way)

    before = moved + drift + floor(config.shared_m, config.shared_rad)[np.ix_(axes, axes)]
    seen = (pose.covariance + floor(config.pose_floor_m, config.pose_floor_rad))[np.ix_(axes, axes)]
    whiten = [np.linalg.cholesky(np.linalg.inv(c)).T for c in (before, seen)]

    def residuals(x):
        full = np.zeros(6)
        full[axes] = x
        T = perturbed(first @ step, full)
        return np.concatenate(
            [w @ difference(T, at)[axes] for w, at in zip(whiten, (first @ step, pose.T_map_base), strict=True)]
        )

    optimum = least_squares(residuals, np.zeros(len(axes)), xtol=1e-14, ftol=1e-14, gtol=1e-14)
    track.fuse(pose)
    assert np.allclose(difference(track.T_map_base, first @ step)[axes], optimum.x, atol=2e-4)
    assert np.allclose(track.covariance, np.linalg.inv(np.linalg.inv(before) + np.linalg.inv(seen)), rtol=1e-6)
    assert track.travelled_m == 0


def test_a_planar_transform_keeps_height_and_tilt_of_odometry():
    rng = np.random.default_rng(4)
    T_odom_base, T_map_base = tilted(rng, 0.1), tilted(rng, 0.1, 30.0)
    T = map_to_odom(T_map_base, T_odom_base, planar=True)
    assert T[2].tolist() == [0, 0, 1, 0] and T[:, 2].tolist() == [0, 0, 1, 0]
    stands = T @ T_odom_base
    assert np.allclose(stands[:2, 3], T_map_base[:2, 3])
    assert yaw_of(stands) == pytest.approx(yaw_of(T_map_base))
    assert np.allclose(map_to_odom(T_map_base, T_odom_base, planar=False) @ T_odom_base, T_map_base)


def test_a_heading_error_becomes_one_of_position_with_the_way():
    covariance = np.diag([1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 0.02**2])
    config = MapToOdomConfig(odom_drift=1e-6, pose_floor_m=0.0, pose_floor_rad=0.0)
    track = Track(config, START_NS, np.eye(4), MapPose(planar_transform(500.0, 0.0, 0.0), covariance))
    assert stds(track.covariance)[0] < 0.002  # far from the origin, and still no error of position
    track.moved(planar_transform(30.0, 0.0, 0.0))
    assert np.sqrt(track.covariance[1, 1]) == pytest.approx(30.0 * 0.02, rel=1e-3)
    assert np.sqrt(track.covariance[0, 0]) < 0.002


def test_gates_pass_nearly_all_right_poses():
    assert [round(chi2.ppf(0.999, axes), 2) for axes in GATES] == list(GATES.values())


# A drive


def on_the_way(i, spacing_m=1.0):
    """The true pose in odometry's frame of frame i: a wide bend."""
    turn = 0.01 * i * spacing_m
    return planar_transform(100 * np.sin(turn), 100 * (1 - np.cos(turn)), turn)


class Drive:
    """Frames four times a second; odometry without drift unless `drift` turns it."""

    def __init__(self, drift_rad_per_m=0.0, spacing_m=1.0, seed=0, **config):
        self.follower = Follower(MapToOdomConfig(**config))
        self.rng = np.random.default_rng(seed)
        self.i, self.drift, self.spacing_m = 0, drift_rad_per_m, spacing_m
        self.T_odom_base = np.eye(4)
        self.offset = np.eye(4)  # of odometry's frame, when it jumps
        self.events, self.sentences = [], []

    @property
    def stamp_ns(self):
        return START_NS + self.i * PERIOD_NS

    @property
    def T_map_base(self):
        return T_MAP_ODOM @ on_the_way(self.i, self.spacing_m)

    def go(self, frames, seen=True, wrong=None, odometry=True):
        """So many frames; `seen`: with a verified pose, moved by `wrong` in the map's axes."""
        for _ in range(frames):
            step = invert(on_the_way(self.i, self.spacing_m)) @ on_the_way(self.i + 1, self.spacing_m)
            self.i += 1
            self.T_odom_base = self.T_odom_base @ step @ planar_transform(0, 0, self.drift * self.spacing_m)
            pose = None
            if seen:
                std = np.sqrt(np.diag(COVARIANCE)) * np.array([1, 1, 0, 0, 0, 1])
                T = perturbed(self.T_map_base, self.rng.normal(0, std))
                pose = MapPose(T if wrong is None else wrong @ T, COVARIANCE)
            outcomes = self.follower.take(self.stamp_ns, self.offset @ self.T_odom_base if odometry else None, pose)
            self.events += [outcome.event for outcome in outcomes]
            self.sentences += [outcome.sentence for outcome in outcomes if outcome.sentence]
            self.follower.transform(self.stamp_ns * 1e-9, None)
            change = self.follower.change()
            self.events += [change.event] if change else []
        return self

    @property
    def error_m(self):
        """Of the robot in the map, by what is given out."""
        T = self.follower.transform(self.stamp_ns * 1e-9, None) @ self.offset @ self.T_odom_base
        return float(np.linalg.norm((T - self.T_map_base)[:2, 3]))

    @property
    def state(self):
        return self.follower.status().state


def test_first_fix_needs_two_poses_that_agree():
    drive = Drive().go(3, seen=False)
    assert drive.state == "waiting" and drive.follower.transform(0.0, None) is None and not drive.events
    drive.go(1, wrong=planar_transform(30.0, 0.0, 0.0))
    assert drive.state == "waiting" and drive.events == ["unconfirmed"]
    drive.go(2)
    assert drive.events == ["unconfirmed", "unconfirmed", "first fix"]
    assert drive.state == "following" and drive.error_m < 0.4
    assert "first fix" in drive.sentences[-1]


def test_a_drifting_drive_is_followed_and_its_covariance_is_honest():
    squares = []
    for seed in range(15):
        drive = Drive(drift_rad_per_m=0.001, seed=seed, odom_drift=0.02).go(60)
        alone = np.linalg.norm((T_MAP_ODOM @ drive.T_odom_base - drive.T_map_base)[:2, 3])
        track = drive.follower._track
        error = difference(track.T_map_base, drive.T_map_base)[[0, 1, 5]]
        squares.append(error @ np.linalg.solve(track.covariance, error))
        assert alone > 1.5 and drive.error_m < 0.4
        assert drive.follower.status().travelled_m < 1.1
    assert 0.3 < np.mean(squares) / 3 < 1.5  # three degrees of freedom; the floors make it cautious


def test_a_single_wrong_place_does_nothing():
    drive = Drive().go(20)
    before = drive.follower.transform(drive.stamp_ns * 1e-9, None)
    drive.go(1, wrong=planar_transform(8.0, 3.0, 0.0))
    assert drive.events[-1] == "gated"
    assert (
        np.linalg.norm((drive.follower.transform(drive.stamp_ns * 1e-9, None) - before) @ drive.T_odom_base[:, 3]) < 0.1
    )
    drive.go(5)
    assert drive.events[-5:] == ["used"] * 5 and drive.state == "following"


def test_wrong_places_among_right_ones_never_take_over():
    drive = Drive().go(10)
    for _ in range(15):
        drive.go(4, wrong=planar_transform(8.0, 3.0, 0.0)).go(1)
    assert drive.events.count("gated") == 60 and "relocalised" not in drive.events
    assert drive.error_m < 0.4


def test_poses_that_agree_with_one_another_replace_an_estimate_that_was_wrong():
    drive = Drive().go(6, wrong=planar_transform(20.0, -5.0, 0.5))
    assert drive.error_m > 10
    drive.go(5)
    assert drive.state == "held" and "elsewhere" in drive.follower.status().reason
    assert [e for e in drive.events if e in ("gated", "relocalised")] == ["gated"] * 5
    drive.go(20)
    # 6 poses are enough, but 3 s have to pass: a wrong place is wrong for several frames.
    assert drive.events.count("gated") == 12 and drive.events.count("relocalised") == 1
    assert drive.state == "following" and drive.error_m < 0.4
    assert any("relocalised, by" in sentence for sentence in drive.sentences)


def test_poses_that_contradict_one_another_replace_nothing():
    drive = Drive().go(10)
    for i in range(15):
        drive.go(1, wrong=planar_transform(10.0 + 3.0 * (i % 7), 5.0 * (i % 3), 0.0))
    assert drive.state == "following" and drive.error_m < 0.4
    assert drive.events[-15:] == ["gated"] * 15


def test_without_poses_it_is_held_and_found_again():
    drive = Drive(drift_rad_per_m=0.001).go(10)
    T = drive.follower.transform(drive.stamp_ns * 1e-9, None)
    drive.go(60, seen=False)
    status = drive.follower.status()
    assert drive.state == "held" and "no verified pose on the last" in status.reason
    assert drive.events.count("held") == 1 and status.travelled_m == pytest.approx(60, abs=0.5)
    held = drive.follower.transform(drive.stamp_ns * 1e-9, None)
    assert np.linalg.norm((held - T) @ drive.T_odom_base[:, 3]) < 0.3  # what was pending, no more
    assert status.std_m > 3.0
    drive.go(1)
    assert drive.state == "held" and drive.events[-1] == "unconfirmed"  # one alone is not enough
    drive.go(2)
    assert drive.events[-2:] == ["found again", "used"] and drive.state == "following"
    drive.go(30)
    assert drive.error_m < 0.4


def test_it_is_held_where_odometry_goes_on_and_no_images_come():
    """A loop without images: the robot is back where it was, and odometry has drifted all the way."""
    drive = Drive().go(10)
    begin_s, last = drive.stamp_ns * 1e-9, drive.T_odom_base
    circle = [last @ planar_transform(5 * np.sin(a), 5 * (1 - np.cos(a)), a) for a in np.linspace(0, 2 * np.pi, 200)]
    for i, T_odom_base in enumerate(circle):
        drive.follower.transform(begin_s + 0.05 * i, T_odom_base)
    assert drive.state == "held" and drive.follower.change().event == "held" and drive.follower.change() is None
    status = drive.follower.status()
    assert status.travelled_m == pytest.approx(2 * np.pi * 5, rel=0.05) and status.std_m > 1.0
    drive.i += 40
    off = np.linalg.inv(T_MAP_ODOM @ last) @ planar_transform(3.0, 0.0, 0.0) @ T_MAP_ODOM @ last
    pose = MapPose(T_MAP_ODOM @ last @ off, COVARIANCE)
    events = [drive.follower.take(drive.stamp_ns + i, last, pose)[0].event for i in range(2)]
    assert events == ["unconfirmed", "found again"]  # 3 m off: no contradiction after such a way


def test_a_vague_pose_is_not_used():
    drive = Drive(max_std_m=0.05).go(5)
    assert drive.events == ["too vague"] * 5 and drive.state == "waiting"
    turned = MapPose(T_MAP_ODOM, np.diag([0.01, 0.01, 0.01, 0.1, 0.1, 0.5]) ** 2)
    follower = Follower(MapToOdomConfig())
    assert [o.event for o in follower.take(START_NS, np.eye(4), turned)] == ["too vague"]


def test_odometry_that_begins_anew_leaves_the_robot_where_it_was():
    drive = Drive().go(20)
    error = drive.error_m
    drive.offset = planar_transform(-70.0, 30.0, 1.0)
    drive.go(1, seen=False)
    assert drive.events[-2:] == ["odometry jumped", "held"] and drive.state == "held"
    assert drive.error_m < error + 1.1  # one frame's way was lost
    drive.go(3)
    assert drive.events[-3:-1] == ["unconfirmed", "found again"] and drive.state == "following"
    drive.go(20)
    assert drive.error_m < 0.4


def test_frames_without_odometry_are_held_and_their_poses_not_used():
    drive = Drive().go(10).go(3, odometry=False)
    assert drive.events[-4:] == ["no odometry", "held", "no odometry", "no odometry"]
    assert drive.state == "held" and drive.follower.transform(drive.stamp_ns * 1e-9, None) is not None
    drive.go(3)
    assert drive.state == "following" and drive.error_m < 0.4


def test_a_clock_that_goes_back_begins_anew():
    drive = Drive().go(10)
    drive.i = 2
    drive.go(1)
    assert drive.events[-2:] == ["clock jumped", "unconfirmed"]
    assert drive.state == "waiting" and drive.follower.transform(0.0, None) is None
    assert "back by" in drive.sentences[-1]


def test_what_was_forgotten_is_held_until_it_is_found():
    drive = Drive().go(10)
    T = drive.follower.transform(drive.stamp_ns * 1e-9, None)
    drive.follower.forget()
    assert drive.state == "held"
    assert np.allclose(drive.follower.transform(drive.stamp_ns * 1e-9 + 5.0, None), T)
    drive.go(2)
    assert drive.events[-3:] == ["unconfirmed", "held", "first fix"] and drive.state == "following"


def test_a_standing_robot_neither_drifts_nor_becomes_sure_of_its_first_error():
    drive = Drive(spacing_m=0.0).go(400)
    status = drive.follower.status()
    assert status.travelled_m == 0 and status.std_m > 0.02
    drive.go(400, seen=False)
    assert drive.state == "following"


# Smoothness


def test_corrections_are_bounded_at_the_robot():
    """Far from odometry's origin a bounded turn of the frame would throw the robot by metres."""
    drive = Drive().go(200)  # the robot is some 90 m away from odometry's origin
    at = drive.T_odom_base
    output = SmoothTransform(0.5, np.radians(10.0), share=0.1)
    output.jump(T_MAP_ODOM)
    goal = T_MAP_ODOM @ at @ planar_transform(0.6, 0.8, 0.5) @ invert(at)  # 1 m and 28.6 degrees at the robot
    assert output.seconds(goal, at) == pytest.approx(0.5 / np.radians(10.0))
    last, steps = output.value @ at, []
    for _ in range(100):
        output.advance(goal, at, 0.05, 0.0)
        now = output.value @ at
        steps.append((np.linalg.norm((now - last)[:3, 3]), rotation_angle(now[:3, :3], last[:3, :3])))
        last = now
    metres, radians = np.array(steps).T
    assert metres.max() <= 0.5 * 0.05 + 1e-9 and radians.max() <= np.radians(10.0) * 0.05 + 1e-6
    assert metres.sum() == pytest.approx(1.0, abs=1e-6)  # straight there
    assert np.count_nonzero(metres > 1e-9) == 40 and np.allclose(output.value, goal)


def test_a_robot_that_drives_is_corrected_by_a_share_of_its_way_as_well():
    output, goal = SmoothTransform(0.5, 1.0, share=0.1), planar_transform(1.0, 0.0, 0.0)
    output.jump(np.eye(4))
    output.advance(goal, np.eye(4), 0.05, 0.4)
    assert output.value[0, 3] == pytest.approx(0.5 * 0.05 + 0.1 * 0.4)


def test_small_corrections_are_spread_and_large_ones_made_at_once():
    for off_m, at_once in ((0.5, False), (2.0, True)):
        drive = Drive().go(10).go(60, seen=False)  # held: the estimate is wide enough to be corrected by metres
        drive.go(2, wrong=planar_transform(off_m, 0.0, 0.0))
        assert drive.events[-1] == "found again"
        status = drive.follower.status()
        assert (status.pending_m < 0.05) == at_once
        assert any("jumps: found again" in sentence for sentence in drive.sentences) == at_once
