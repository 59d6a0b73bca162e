"""The recorder on a real ROS: a drive becomes a training set, whatever ends it, and diagnostics say what is missing."""

import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

import yaml
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from ros_process import Health, Process
from ros_robot import compressed, odometry, qos, transform, wait_until
from sensor_msgs.msg import CameraInfo, CompressedImage, PointCloud2
from tf2_msgs.msg import TFMessage

from vpr_ros.geometry import make_transform, planar_transform
from vpr_ros.sensors import cloud_msg, compressed_image_msg
from vpr_ros.sensors.bags.messages import camera_info_msg, typestore
from vpr_ros.training_set import read_frame_table

SECOND = 10**9
LIDAR = make_transform((0.2, 0.0, 1.6))
POINTS = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32) * 20
JPEG = compressed_image_msg(np.full((60, 80, 3), 90, np.uint8), 0).data.tobytes()
T_MAP_ODOM = planar_transform(100.0, 50.0, np.pi / 2)
START = "import sys; from vpr_ros.nodes.main import recorder; sys.exit(recorder())"


class Recorder(Process):
    """The node `recorder` as `ros2 run` starts it."""

    def __init__(self, robot, folder, label, **parameters):
        self.robot, self.heard, self.name = robot, robot.listen("/diagnostics", DiagnosticArray), label
        file = folder / f"{label}.yaml"
        file.write_text(yaml.safe_dump({"/**": {"ros__parameters": {"compressed": True, **parameters}}}))
        super().__init__(
            [sys.executable, "-c", START, "--ros-args", "-r", f"__node:={label}", "--params-file", file],
            folder / f"{label}.log",
        )

    def change(self, transition):
        return self.robot.change(f"/{self.name}", transition)

    def up(self):
        assert self.change("configure") and self.change("activate"), self.log
        return self

    def until(self, task, text, timeout_s=15.0):
        """The diagnostics of a task as soon as they say a text."""

        def now():
            for array in reversed(self.heard.messages):
                for status in array.status:
                    if status.name == f"{self.name}: {task}" and text in Health(status).text:
                        return Health(status)
            return None

        return wait_until(now, timeout_s, f"'{text}' in the diagnostics of {task}:\n{self.log}")


@pytest.fixture
def start(robot, tmp_path):
    started = []

    def make(**parameters):
        # Another name each time: for some seconds the middleware keeps a killed node's services.
        started.append(Recorder(robot, tmp_path, f"recorder{len(started)}", **parameters))
        return started[-1]

    yield make
    for node in started:
        node.kill()


class Car:
    """Drives straight on at 10 m/s in its own time, at several times the speed of the clock on the wall."""

    def __init__(self, robot, clouds=True, map_frame=True):
        self.robot, self.clouds, self.map_frame = robot, clouds, map_frame
        self.image = robot.publisher("/image/compressed", CompressedImage)
        self.odom = robot.publisher("/odom", Odometry, qos(100))
        self.points = robot.publisher("/points", PointCloud2)
        self.info = robot.publisher("/camera_info", CameraInfo)
        self.tf, self.static = (
            robot.publisher("/tf", TFMessage),
            robot.publisher("/tf_static", TFMessage, qos(latched=True)),
        )
        static = [transform(0, "base_link", "lidar_link", LIDAR)]
        self.static.publish(TFMessage(transforms=static))
        self.t = 1_000 * SECOND

    def wait(self):
        for publisher in (self.image, self.odom, self.points, self.tf, self.static, self.info):
            self.robot.until_heard(publisher)
        return self

    def pose(self, t):
        return planar_transform((t - 1_000 * SECOND) * 1e-8, 0, 0)

    def drive(self, frames, pause_s=0.02):
        for _ in range(frames):
            for t in (self.t - SECOND // 20, self.t):
                self.odom.publish(odometry(t, self.pose(t)))
                links = [transform(t, "odom", "base_link", self.pose(t))]
                if self.map_frame:
                    links.append(transform(t, "map", "odom", T_MAP_ODOM))
                self.tf.publish(TFMessage(transforms=links))
            if self.clouds:
                self._raw(self.points, cloud_msg(POINTS, self.t, "lidar_link"))
            self._raw(self.info, camera_info_msg(np.diag([70.0, 70, 1]), 80, 60, self.t))
            self.image.publish(compressed(self.t, JPEG))
            self.t += SECOND // 20
            time.sleep(pause_s)

    def _raw(self, publisher, msg):
        publisher.publish(bytes(typestore().serialize_cdr(msg, msg.__msgtype__)))


def test_a_drive_becomes_a_training_set_and_a_second_is_appended(robot, start, tmp_path):
    folder, car = tmp_path / "set", Car(robot)
    node = start(output=str(folder), drive="one", city="campus", condition="noon")
    node.up()
    car.wait().drive(60)
    told = node.until("recording", "close to the last frame")
    assert told.level == 0 and "frames in drive 'one'" in told.message and told.values["poses"] == "map"
    assert node.until("input", "images/s").level == 0
    assert node.change("deactivate")
    paused = len(read_frame_table(folder))
    car.drive(10)
    time.sleep(0.2)
    assert len(read_frame_table(folder)) == paused
    assert node.change("activate")
    car.wait().drive(20)
    assert node.change("deactivate") and node.change("cleanup")
    assert node.change("configure") and node.change("activate")
    car.wait().drive(20)
    seconds, status = node.interrupt()
    assert seconds < 5 and status == 0 and "Traceback" not in node.log, node.log

    table = read_frame_table(folder)
    first = table.drives == "one"
    assert first.sum() >= 20 and (table.drives == "one-2").sum() >= 3 and set(table.cities) == {"campus"}
    for stamp, position, heading, cloud in zip(
        table.stamps_ns, table.positions_m, table.headings_rad, table.clouds, strict=True
    ):
        T = T_MAP_ODOM @ car.pose(int(stamp))
        assert np.allclose(position, T[:2, 3], atol=1e-3) and abs(heading - np.pi / 2) < 1e-4
        assert np.allclose(np.load(cloud), POINTS + LIDAR[:3, 3], atol=0.1)
    gaps = np.linalg.norm(np.diff(table.positions_m[first], axis=0), axis=1)
    assert gaps.min() >= 0.99
    assert '"K": [' in (folder / "meta.json").read_text()


def test_kill_9_and_a_new_start(robot, start, tmp_path):
    folder, car = tmp_path / "set", Car(robot)
    node = start(output=str(folder), drive="one").up()
    car.wait()
    thread = threading.Thread(target=car.drive, args=(60,))
    thread.start()
    wait_until(lambda: (folder / "frames.csv").exists() and len((folder / "frames.csv").read_text().splitlines()) > 6)
    node.kill()
    thread.join()
    kept = len(read_frame_table(folder))
    assert kept >= 5
    start(output=str(folder), drive="one").up()
    car.wait().drive(30)
    wait_until(lambda: len(read_frame_table(folder)) > kept)
    assert set(read_frame_table(folder).drives) == {"one", "one-2"}


def test_diagnostics_say_what_is_missing(robot, start, tmp_path):
    car = Car(robot, clouds=False)
    robot.node.destroy_publisher(car.points)
    node = start(output=str(tmp_path / "set"), image_timeout_s=0.5).up()
    robot.until_heard(car.image)
    car.drive(20)
    assert node.until("recording", "nothing recorded").message.endswith("with no cloud")
    silent = node.until("input", "no image for")
    assert silent.level == 2 and "nobody publishes /points" in silent.message
    assert node.change("deactivate") and node.change("cleanup")
    assert not list((tmp_path / "set").glob("images/*"))  # a drive without frames leaves nothing


def test_configure_refuses_with_the_reason(robot, start, tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"x")
    node = start()
    assert not node.change("configure") and "output is empty" in node.until("recording", "output is empty").message
    node.kill()
    node = start(output=str(tmp_path / "holiday"))
    assert not node.change("configure")
    assert node.until("recording", "holds other files").level == 2 and "Traceback" not in node.log
