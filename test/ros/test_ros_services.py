"""What the node is asked for: services, and outputs for those who listen."""

import shutil
import threading
import time
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from nav_msgs.srv import LoadMap
from ros_drives import FRAMES, IMAGE, ODOM, POINTS, first_drive, images_of
from ros_process import play
from ros_robot import compressed, keyframe_of, odometry, qos, stamp_of, until_answered, wait_until
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from vision_msgs.msg import Detection3D, VisionInfo
from visualization_msgs.msg import MarkerArray

from vpr_ros.geometry import invert, matrix_to_quaternion, planar_transform
from vpr_ros.place_map import PlaceMap


class Drive:
    """Drives along the street again and again at 20 images a second, 1.5 m apart, with odometry, until it is left."""

    def __init__(self, robot, node, jpegs):
        self.camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
        self.wheels = robot.publisher(node.topic("odom"), Odometry)
        robot.until_heard(self.camera)
        robot.until_heard(self.wheels)
        self.jpegs, self.over = jpegs, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        i = 0
        while not self.over.wait(0.05):
            stamp, at = time.time_ns(), i % len(self.jpegs)
            self.wheels.publish(odometry(stamp, planar_transform(1.5 * at, 0.0, 0.0)))
            self.camera.publish(compressed(stamp, self.jpegs[at]))
            i += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


@pytest.fixture
def jpegs(drives):
    return [jpeg for _, jpeg in images_of(drives["second"])][:FRAMES]


def ask(robot, node, service, data=None):
    kind = Trigger if data is None else SetBool
    request = None if data is None else SetBool.Request(data=data)
    answer = robot.call(kind, f"{node.name}/{service}", request)
    assert answer.message, f"{service} gave no reason"
    return answer.success, answer.message


def test_relocalize_gives_one_initial_pose(start, robot, first_map, jpegs):
    node = start(map_path=first_map, compressed=True).up()
    initial = robot.listen(node.topic("~/initial_pose"), PoseWithCovarianceStamped)
    poses = robot.listen(node.topic("~/pose"), PoseWithCovarianceStamped)
    with Drive(robot, node, jpegs):
        poses.wait(5)
        assert len(initial) == 0
        for asked in (1, 2):
            assert ask(robot, node, "relocalize")[0]
            initial.wait(asked)
            seen = len(poses)
            poses.wait(seen + 10)
            assert len(initial) == asked
    answer = initial.messages[-1]
    assert answer == poses.by_stamp()[stamp_of(answer)]
    assert answer.header.frame_id == "map" and min(np.diag(np.reshape(answer.pose.covariance, (6, 6)))) > 0


def test_a_mapper_does_not_relocalize(start, robot, tmp_path):
    node = start(mode="map", map_path=tmp_path / "new.vpr").up()
    success, reason = ask(robot, node, "relocalize")
    assert not success and "map" in reason


def test_services_of_a_mapper(start, robot, jpegs, tmp_path):
    path = tmp_path / "new.vpr"
    node = start(mode="slam", map_path=path, compressed=True, session="drive").up()
    info = robot.listen(node.topic("~/vision_info"), VisionInfo, qos(10, latched=True))

    def keyframes():
        return int(node.health("map").number("keyframes"))

    with Drive(robot, node, jpegs):
        node.until_health("map", lambda h: h.number("keyframes") >= 5)
        assert ask(robot, node, "save_map")[0]
        with PlaceMap.open(path) as place_map:  # beside the writer
            assert len(place_map) >= 5
        assert ask(robot, node, "set_mapping", False)[0]
        node.until_health("map", lambda h: h.level == 1 and "mapping" in h.message)
        paused = keyframes()
        time.sleep(1.5)
        assert keyframes() == paused
        assert ask(robot, node, "set_mapping", True)[0]
        node.until_health("map", lambda h: h.number("keyframes") > paused)
        assert ask(robot, node, "clear_session")[0]
        before = keyframes()
        version = node.until_health("map", lambda h: h.number("keyframes") > before + 2).number("version")
        wait_until(lambda: info.messages[-1].database_version >= version > 0, what="the map's version in vision_info")
    assert node.deactivate() and node.cleanup()
    with PlaceMap.open(path) as place_map:
        names = [session.name for session in place_map.sessions()]
        assert len(names) == 2 and len(set(names)) == 2 and all(name.startswith("drive") for name in names)


def load(robot, node, url):
    return robot.call(LoadMap, f"{node.name}/load_map", LoadMap.Request(map_url=str(url)), 60.0)


def test_one_call_changes_the_map(start, robot, first_map, jpegs, tmp_path):
    """What cannot be loaded leaves the old map in use; what can answers the next image. The network stays loaded."""
    copy, empty, torn = tmp_path / "another town.vpr", tmp_path / "empty.vpr", tmp_path / "torn.vpr"
    shutil.copy(first_map, copy)
    torn.write_bytes(b"no map")
    with PlaceMap.open(first_map) as old:
        settings = dict(fingerprint=old.fingerprint, dim=old.dim, preprocessing={}, place_radius_m=10.0)
        PlaceMap.create(empty, model_name=old.model_name, **settings).close()
    node = start(map_path=first_map, compressed=True)
    assert load(robot, node, copy).result == LoadMap.Response.RESULT_UNDEFINED_FAILURE  # not configured
    node.up()
    info = robot.listen(node.topic("~/vision_info"), VisionInfo, qos(5, latched=True))
    refusals = {
        tmp_path / "missing.vpr": (LoadMap.Response.RESULT_MAP_DOES_NOT_EXIST, "missing.vpr does not exist"),
        torn: (LoadMap.Response.RESULT_INVALID_MAP_DATA, "torn.vpr"),
        empty: (LoadMap.Response.RESULT_INVALID_MAP_DATA, "has no keyframes"),
        "https://maps.example.org/town.vpr": (LoadMap.Response.RESULT_UNDEFINED_FAILURE, "no file of this machine"),
        "": (LoadMap.Response.RESULT_UNDEFINED_FAILURE, "map_url is empty"),
    }
    for url, (result, words) in refusals.items():
        assert load(robot, node, url).result == result
        assert words in [line for line in node.log.splitlines() if "load_map refused" in line][-1]
        assert node.state == "active"
    assert info.wait()[-1].database_location == str(first_map)
    node.until_health("map", lambda h: h.level == 2 and "map_url is empty" in h.message)
    answer = load(robot, node, f"file://{quote(str(copy))}")
    assert answer.result == LoadMap.Response.RESULT_SUCCESS and answer.map.header.frame_id == "map"
    assert node.state == "active"
    wait_until(lambda: info.messages[-1].database_location == str(copy), what="the other map in vision_info")
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    until_answered(camera, matches, lambda stamp: compressed(stamp, jpegs[20]))
    assert node.deactivate() and load(robot, node, first_map).result == LoadMap.Response.RESULT_SUCCESS
    assert node.state == "inactive"  # as it was found
    assert "Traceback" not in node.log


def test_a_map_that_fails_late_leaves_the_old_one(start, robot, first_map, tmp_path):
    """It reads well, but another mapper writes to it."""
    own, other = tmp_path / "own.vpr", tmp_path / "other.vpr"
    for path in (own, other):
        shutil.copy(first_map, path)
    node = start(mode="slam", map_path=own, compressed=True).up()
    with PlaceMap.open(other, writable=True):
        assert load(robot, node, other).result == LoadMap.Response.RESULT_UNDEFINED_FAILURE
        assert "other.vpr" in [line for line in node.log.splitlines() if "load_map refused" in line][-1]
    assert node.state == "active"
    assert node.until_health("map", lambda h: h.values.get("path")).values["path"] == str(own)
    assert load(robot, node, other).result == LoadMap.Response.RESULT_SUCCESS and node.state == "active"


def test_pictures_for_those_who_look(start, robot, first_map, jpegs):
    node = start(map_path=first_map, compressed=True).up()
    camera = robot.publisher(node.topic("image/compressed"), CompressedImage)
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    answer = until_answered(camera, matches, lambda stamp: compressed(stamp, jpegs[20]))
    pictures = robot.listen(node.topic("~/match_image/compressed"), CompressedImage, qos(5, reliable=False))
    markers = robot.listen(node.topic("~/markers"), MarkerArray)
    deadline = time.monotonic() + 15
    while not (len(pictures) and len(markers)) and time.monotonic() < deadline:
        answer = until_answered(camera, matches, lambda stamp: compressed(stamp, jpegs[20]))
    picture, array = pictures.wait()[-1], markers.wait()[-1]
    image = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None and image.shape[1] > image.shape[0]  # two pictures side by side
    assert stamp_of(picture) in matches.by_stamp() and stamp_of(answer) >= stamp_of(picture)
    assert array.markers and {marker.header.frame_id for marker in array.markers} == {"map"}


def test_a_given_picture_is_answered_with_places_and_the_keyframes_picture(start, robot, first_map, jpegs):
    """A service by topics: beside the camera's images, with the stamp of the request, which may be zero."""
    node = start(map_path=first_map, compressed=True, min_consistent_frames=5).up()
    query = robot.until_heard(robot.publisher(node.topic("~/query/compressed"), CompressedImage))
    matches = robot.listen(node.topic("~/query_matches"), Detection3D)
    pictures = robot.listen(node.topic("~/query_keyframe/compressed"), CompressedImage)
    others = robot.listen(node.topic("~/matches"), Detection3D)
    wait_until(lambda: all(robot.node.count_publishers(heard.topic) for heard in (matches, pictures)))
    with PlaceMap.open(first_map) as place_map:
        keyframes, map_id = place_map.keyframes(), place_map.map_id
        for stamp_ns, row in ((0, 5), (5, 15), (3, 5)):
            shown = place_map.thumbnail(int(keyframes.ids[row]))
            query.publish(compressed(stamp_ns, shown))
            count = len(matches) + 1
            answer, picture = matches.wait(count)[-1], pictures.wait(count)[-1]
            assert stamp_of(answer) == stamp_of(picture) == stamp_ns and answer.header.frame_id == "map"
            best = answer.results[0].hypothesis
            near = np.linalg.norm(keyframes.T_map_base[:, :2, 3] - keyframes.T_map_base[row, :2, 3], axis=1) <= 10.0
            assert keyframe_of(best.class_id) in keyframes.ids[near]
            assert picture.header.frame_id == best.class_id and best.class_id.startswith(map_id)
            assert bytes(picture.data) == place_map.thumbnail(keyframe_of(best.class_id))
    query.publish(compressed(1, b"no picture"))
    node.until_health("input", lambda h: h.number("query unusable") == 1)
    assert "a picture on ~/query/compressed cannot be answered: compressed image" in node.log
    assert len(matches) == 3 and len(others) == 0 and node.state == "active"


def test_a_localizer_without_images(start, robot, first_map):
    """Services refuse with a reason what needs a map to write; late listeners get what is latched."""
    node = start(map_path=first_map)
    for service, data in (("relocalize", None), ("save_map", None), ("clear_session", None), ("set_mapping", True)):
        success, reason = ask(robot, node, service, data)
        assert not success and "configured" in reason
    node.up()
    for service, data in (("save_map", None), ("set_mapping", True), ("set_mapping", False)):
        success, reason = ask(robot, node, service, data)
        assert not success and "localize" in reason
    assert ask(robot, node, "clear_session")[0]

    path = robot.listen(node.topic("~/keyframes"), Path, qos(1, latched=True)).wait()[-1]
    info = robot.listen(node.topic("~/vision_info"), VisionInfo, qos(1, latched=True)).wait()[-1]
    with PlaceMap.open(first_map) as place_map:
        keyframes, map_id = place_map.keyframes(), place_map.map_id
        assert str(place_map.path) == info.database_location and place_map.fingerprint[:12] in info.method
    assert [pose.header.frame_id for pose in path.poses] == [f"{map_id}/{i}" for i in keyframes.ids]
    assert [stamp_of(pose) for pose in path.poses] == keyframes.stamps_ns.tolist()
    p = [(pose.pose.position.x, pose.pose.position.y) for pose in path.poses]
    np.testing.assert_allclose(p, keyframes.T_map_base[:, :2, 3])


def test_slam_finds_its_own_past(start, robot, programs, drives, tmp_path):
    """A drive that comes by twice: candidates name exact stamps of the first lap, closures say where it was then."""
    node = start(
        mode="slam",
        map_path=tmp_path / "slam.vpr",
        compressed=True,
        use_sim_time=True,
        verify="lidar",
        keep_clouds=True,
        loop_min_gap_s=5.0,
        remaps={"image/compressed": IMAGE, "odom": ODOM, "points": POINTS},
    ).up()
    candidates = robot.listen(node.topic("~/loop_candidate"), Float64MultiArray)
    closures = robot.listen(node.topic("~/loop_closure"), PoseWithCovarianceStamped)
    matches = robot.listen(node.topic("~/matches"), Detection3D)
    programs.append(play(drives["twice"], tmp_path / "play.log", "--clock", "200", "--delay", "1", rate=1.5))
    assert programs[0].wait(60) == 0
    wait_until(lambda: len(closures) >= 3, what="loop closures")
    assert node.deactivate() and node.cleanup()

    drive = first_drive()
    lap_ns = images_of(drives["twice"])[FRAMES][0] - int(drive.stamps_ns[0])
    truth = dict(zip(drive.stamps_ns.tolist(), drive.T_map_base, strict=True))
    with PlaceMap.open(tmp_path / "slam.vpr") as place_map:
        stamps = dict(zip(place_map.poses().ids.tolist(), place_map.poses().stamps_ns.tolist(), strict=True))
    assert len(candidates) >= 3
    images = np.array([stamp for stamp, _ in images_of(drives["twice"])])
    for query_s, keyframe_s in (message.data for message in candidates.messages):
        query = images[np.argmin(np.abs(images - query_s * 1e9))]
        keyframe = min(stamps.values(), key=lambda stamp, s=keyframe_s: abs(stamp - s * 1e9))
        assert abs(query - query_s * 1e9) < 1000 and abs(keyframe - keyframe_s * 1e9) < 1000
        apart = truth[int(query) - lap_ns][:2, 3] - truth[keyframe][:2, 3]
        assert np.linalg.norm(apart) <= 10.0
    print(f"\n{len(candidates)} candidates, {len(closures)} closures")
    accepted = {stamp for stamp, match in matches.by_stamp().items() if match.id}
    for closure in closures.messages:
        assert stamp_of(closure) in accepted
        keyframe = stamps[keyframe_of(closure.header.frame_id)]
        expected = invert(truth[keyframe]) @ truth[stamp_of(closure) - lap_ns]
        p, o = closure.pose.pose.position, closure.pose.pose.orientation
        assert np.linalg.norm(np.array([p.x, p.y, p.z]) - expected[:3, 3]) < 1.0
        assert abs(np.dot([o.x, o.y, o.z, o.w], matrix_to_quaternion(expected[:3, :3]))) > 0.99
