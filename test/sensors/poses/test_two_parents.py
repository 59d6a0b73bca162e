"""Two publishers that disagree, on TF or on one topic: their numbers are never mixed, whatever comes first."""

import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import planar_transform
from vpr_ros.sensors import Drive, DriveTopics, TransformTree, doctor, odometry_msg, pose_msg, tf_msg
from vpr_ros.sensors.poses.frame_graph import DisputedFramesError, FrameGraph
from vpr_ros.sensors.poses.link_times import Links

SECOND = 10**9
TENTH = SECOND // 10
STAMPS = [SECOND + i * TENTH for i in range(12)]


def odometry(i):
    return planar_transform(i, 0, 0)


def in_map(i):
    return planar_transform(100, i, np.pi / 2)


def tf(parent, poses, delay_ns=0, child="base_link"):
    """One link on /tf, sampled at the images' stamps plus a delay, a little longer than they are."""
    return [
        ("/tf", tf_msg([(parent, child, poses(i))], SECOND + i * TENTH + delay_ns), SECOND + i * TENTH + delay_ns)
        for i in range(-1, 14)
    ]


def in_order(messages, reverse=False):
    return sorted(messages, key=lambda m: (m[2], m[0] == "/tf", not reverse))


@pytest.mark.parametrize("map_first", [False, True])
@pytest.mark.parametrize("delay_ns", [TENTH // 2, 0])
def test_odometry_and_map_poses_of_one_child_are_kept_apart(make_bag, image_messages, map_first, delay_ns):
    """/tf: odom -> base_link x = i, and map -> base_link x = 100, y = i, yaw 90 degrees, 0.05 s later or earlier."""
    links = tf("odom", odometry, delay_ns * map_first) + tf("map", in_map, delay_ns * (not map_first))
    path = make_bag(in_order([*image_messages(STAMPS), *(links[::-1] if map_first else links)]))
    drive = Drive(path)
    late = delay_ns / TENTH
    for i, o in enumerate(drive):
        odom_i, map_i = (i - late, i) if map_first else (i, i - late)
        assert np.allclose(o.T_odom_base, planar_transform(odom_i, 0, 0), atol=1e-6)
        assert np.allclose(o.T_map_base, planar_transform(100, map_i, np.pi / 2), atol=1e-6)
    sentence = "TF gives base_link 2 parents, map and odom"
    assert any(sentence in note for note in drive.notes)
    stage = doctor(path).stage("tf")
    assert stage.verdict == "WARN" and sentence in stage.sentence


@pytest.mark.parametrize("reverse", [False, True])
def test_two_ways_between_two_frames_are_refused_by_name(make_bag, image_messages, reverse):
    """The wheels publish odom -> base_link, a filter odom -> base_footprint, and the model links the two."""
    fixed = ("/tf_static", tf_msg([("base_footprint", "base_link", np.eye(4))], 1), 1)
    camera = ("/tf_static", tf_msg([("base_link", "camera", np.eye(4))], 1), 2)
    drift = tf("odom", lambda i: planar_transform(2 * i, 5, 0), child="base_footprint")
    links = [*tf("odom", odometry), *tf("map", in_map, child="odom"), *drift]
    path = make_bag(in_order([*image_messages(STAMPS), *(links[::-1] if reverse else links), fixed, camera]))
    with Drive(path) as drive:
        assert all(o.T_map_base is None for o in drive)  # by way of base_footprint, or not?
        assert all(np.allclose(o.T_odom_base, odometry(i)) for i, o in enumerate(drive))  # odom -> base_link says it
        assert any("no pose from TF: TF gives base_link 2 parents, base_footprint and odom" in n for n in drive.notes)
    stage = doctor(path).stage("pose")
    assert stage.verdict == "WARN" and "base_footprint and odom" in stage.sentence
    with pytest.raises(DisputedFramesError, match="TF gives base_link 2 parents, base_footprint and odom"):
        drive.poses.tree.lookup("map", "base_link", STAMPS[3])
    assert np.allclose(drive.poses.tree.lookup("base_link", "camera"), np.eye(4))  # below the dispute


def test_fixed_links_with_two_parents_are_told_apart():
    tree = TransformTree()
    tree.add(
        tf_msg([("base_link", "lidar", planar_transform(1, 0, 0)), ("mast", "lidar", planar_transform(0, 9, 0))], 0),
        True,
    )
    assert np.allclose(tree.lookup("base_link", "lidar"), planar_transform(1, 0, 0))
    assert np.allclose(tree.lookup("mast", "lidar"), planar_transform(0, 9, 0))
    with pytest.raises(VprError, match="does not connect base_link with mast"):  # but by the frame that is disputed
        tree.lookup("base_link", "mast")
    assert tree.disputed == {"lidar": ["base_link", "mast"]}


def test_a_circle_is_a_dispute_even_of_two_frames():
    graph = FrameGraph()
    graph.add("a", "b")
    graph.add("b", "a")
    with pytest.raises(DisputedFramesError, match="circle through a, b"):
        graph.path("a", "b")
    graph.remove("b", "a")
    assert graph.path("b", "a") == [(("a", "b"), False)]


def paths(links, target, source, descending=False, seen=()):
    """All ways through links, (parent, child) each, up and then down, that pass no frame twice."""
    if target == source:
        yield []
    for parent, child in links:
        for here, there, down in ((parent, child, True), (child, parent, False)):
            if here == target and there not in (*seen, target) and (down or not descending):
                for rest in paths(links, there, source, down, (*seen, target)):
                    yield [((parent, child), down), *rest]


def test_the_only_way_is_found_and_more_than_one_is_refused():
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(150):
        links = sorted({tuple(rng.choice(list("abcdef"), 2, replace=False)) for _ in range(rng.integers(2, 8))})
        graph = FrameGraph()
        for link in links:
            graph.add(*link)
        for target in "abcdef":
            for source in "abcdef":
                ways = list(paths(links, target, source))
                direct = [way for way in ways if len(way) == 1]
                expected = direct if len(direct) == 1 else ways
                try:
                    found = graph.path(target, source)
                    assert [found] == expected
                except DisputedFramesError as error:
                    assert len(expected) > 1 or (not expected and "circle" in str(error))
                    found = "disputed"
                except VprError:
                    assert not expected
                    found = "none"
                outcomes.add(found if isinstance(found, str) else len(found))
    assert outcomes >= {"disputed", "none", 0, 1, 2, 3}


def test_live_links_with_two_parents_give_no_pose_and_name_both():
    """tf2 keeps one parent for each moment, so that a live node cannot tell them apart."""
    links = Links(lambda *_: np.eye(4), horizon_s=2.0)
    for i in range(5):
        links.add("odom", "base_link", STAMPS[i], False)
        links.add("base_link", "camera", 0, True)
    assert links.at("odom", "base_link", STAMPS[2], 1.0) is not None and links.dispute("odom", "base_link") is None
    links.add("map", "base_link", STAMPS[2] + TENTH // 2, False)
    for target in ("odom", "map"):
        assert links.at(target, "base_link", STAMPS[2], 1.0) is None
        assert links.newest_ns(target, "base_link") is None  # nothing to wait for
        assert "TF gives base_link 2 parents, map and odom" in links.dispute(target, "camera")
    assert links.fixed("base_link", "camera") and links.dispute("base_link", "camera") is None
    links.add("odom", "base_link", STAMPS[2] + 5 * SECOND, False)  # the other one has fallen silent
    links.add("odom", "base_link", STAMPS[3] + 5 * SECOND, False)
    assert links.dispute("odom", "base_link") is None
    assert links.at("odom", "base_link", STAMPS[2] + 5 * SECOND, 1.0) is not None


@pytest.mark.parametrize("drift_first", [False, True])
def test_two_publishers_on_one_odometry_topic(make_bag, image_messages, drift_first):
    """Two filters publish /odometry/filtered: odom -> base_link, and map -> imu_link, which is not asked for."""
    wheels = [("/odom", odometry_msg(odometry(i), t), t) for i, t in enumerate(STAMPS)]
    other = [
        ("/odom", odometry_msg(in_map(i), t + 1, frame_id="map", child_frame_id="imu_link"), t + (1, -1)[drift_first])
        for i, t in enumerate(STAMPS)
    ]
    drive = Drive(make_bag(sorted([*image_messages(STAMPS), *wheels, *other, other[0]], key=lambda m: m[2])))
    assert all(np.allclose(o.T_odom_base, odometry(i)) for i, o in enumerate(drive))
    sentence = "12 of odom -> base_link are used, 13 of map -> imu_link are not"
    assert any(sentence in note for note in drive.notes)
    assert doctor(drive.bag.path).stage("odometry").verdict == "WARN"


def test_two_publishers_on_one_pose_topic_and_poses_in_the_odometry_frame(make_bag, image_messages):
    poses = [("/pose", pose_msg(in_map(i), t), t + 2) for i, t in enumerate(STAMPS)]
    drifting = [("/pose", pose_msg(odometry(i), t + 1, frame_id="odom"), t + 1) for i, t in enumerate(STAMPS)]
    images = image_messages(STAMPS)
    both = Drive(make_bag(sorted([*images, *poses, *drifting], key=lambda m: m[2]), name="both"))
    assert all(np.allclose(o.T_map_base, in_map(i)) for i, o in enumerate(both))
    alone = make_bag(sorted([*images, *drifting], key=lambda m: m[2]), name="alone")
    drive = Drive(alone)
    assert all(o.T_map_base is None for o in drive)
    assert drive.skipped == {"pose unusable": 12} and "--map-frame odom" in drive.first_errors["pose unusable"]
    assert doctor(alone).stage("pose").verdict == "ERROR"
    told = list(Drive(alone, map_frame="odom"))
    assert np.allclose(told[5].T_map_base, odometry(5), atol=1e-6)


def test_an_odometry_topic_that_is_named_as_the_pose_is_taken_at_its_word(make_bag, image_messages):
    messages = [("/truth", odometry_msg(in_map(i), t), t) for i, t in enumerate(STAMPS)]
    path = make_bag(sorted([*image_messages(STAMPS), *messages], key=lambda m: m[2]))
    observations = list(Drive(path, DriveTopics(pose="/truth", odom="none")))
    assert np.allclose(observations[3].T_map_base, in_map(3))
