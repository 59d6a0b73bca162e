"""A simulated robot with one camera and drifting wheels is driven round a loop by the node's own map -> odom.

The rendered city is mapped once round the loop by day with a LiDAR. Then the robot follows the middle of that way
under another condition: its controller knows nothing but TF, map -> odom of the node `vpr` (publish_tf, verify
camera) and its wheels' odom -> base_link. What is rendered is what stands before the place where the robot truly is,
so an error of the localisation drives it off its way. Until the first fix it rolls straight ahead at 1 m/s. Node,
robot and listener are processes on this machine, in simulated time. Needs a sourced ROS 2.

    python benchmarks/driving.py --out runs/driving --conditions night winter
"""

# pyright: reportMissingImports=false
# (ROS comes from its own installation.)

import argparse
import csv
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from localiser import IMAGE, INFO, SECOND_NS, TRUTH, Listener, errors  # noqa: E402

LAP_M, SPACING_M, AGAIN_M = 250.0, 2.0, 60.0  # a lap is as long as the streets make it, and goes on past its start
TICKS_HZ, PICTURE_EVERY = 20, 5
SPEED_M_S, ROLL_M_S, TURN_RAD_S, LOOK_AHEAD_M = 6.0, 1.0, 0.8, 5.0
LOST_M = 20.0  # off its way: the run is over
START_NS = 1_700_086_400_000_000_000


def lap_of(city: int) -> float:
    """How long the lap is, in metres: to where the route comes back to its first street."""
    from vpr_ros.training.synthetic.world.route import plan_route

    route = plan_route(city, 4000.0, 0, LAP_M)
    apart = np.linalg.norm(route.points - route.points[5], axis=1)
    turned = np.cos(route.heading - route.heading[5])
    return float(np.flatnonzero((apart < 1.0) & (turned > 0.98) & (np.arange(len(apart)) > 100))[0] - 5)


def planned(city: int, condition: str, length_m: float, lidar: bool = False):
    """A drive along the loop; of the robot's only the scene is used."""
    from vpr_ros.training.synthetic import CameraConfig, LidarConfig, named_conditions, plan_drive

    seed = city * 10 + 1 + 7 * len(condition)
    return plan_drive(
        city,
        named_conditions(condition, seed=seed),
        CameraConfig(320, 240),
        LidarConfig() if lidar else None,
        length_m=length_m,
        spacing_m=SPACING_M,
        lap_m=LAP_M,
    )


class Wheels:
    """Odometry that drifts as that of rendered drives, one short step after another."""

    def __init__(self, seed: int):
        self._rng = np.random.default_rng([seed, 103])
        self._scale = 1 + self._rng.normal(0, 0.012)
        self.T_odom_base = np.eye(4)

    def roll(self, length_m: float, turn: float) -> None:
        """A step of so many true metres and radians."""
        from vpr_ros.geometry import planar_transform

        noise, root = self._rng.normal(0, (0.0022, 0.003, 0.003)), np.sqrt(length_m)
        xy = np.array([length_m * self._scale, 0]) + noise[1:] * root
        self.T_odom_base = self.T_odom_base @ planar_transform(xy[0], xy[1], turn + noise[0] * root)


class Follower:
    """Pure pursuit of a line of points (n, 2), one every metre."""

    def __init__(self, points: np.ndarray):
        self._points, self.along = points, 0

    def command(self, T_map_base: np.ndarray) -> tuple[float, float]:
        """Speed in m/s and yaw rate in rad/s from where the robot takes itself to be."""
        ahead = self._points[self.along : self.along + 30]
        self.along += int(np.argmin(np.linalg.norm(ahead - T_map_base[:2, 3], axis=1)))
        target = self._points[min(self.along + round(LOOK_AHEAD_M), len(self._points) - 1)]
        x, y = T_map_base[:2, :2].T @ (target - T_map_base[:2, 3])
        bend = 2 * y / max(x * x + y * y, 1.0)
        speed = min(SPEED_M_S, TURN_RAD_S / max(abs(bend), 1e-6))
        return speed, float(np.clip(speed * bend, -TURN_RAD_S, TURN_RAD_S))


def robot(city: int, condition: str, length_m: float, rate: float) -> None:
    """The robot's process: moves, renders and publishes until its way is over or lost."""
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from rosgraph_msgs.msg import Clock
    from rosidl_runtime_py.utilities import get_message
    from tf2_msgs.msg import TFMessage

    from vpr_ros.geometry import planar_transform
    from vpr_ros.sensors.bags.messages import camera_info_msg, compressed_image_msg, pose_msg, tf_msg, typestore
    from vpr_ros.sensors.poses.trajectory import rigid
    from vpr_ros.training.synthetic.bags import camera_of
    from vpr_ros.training.synthetic.rendering.camera import render_image
    from vpr_ros.training.synthetic.rendering.light import make_light
    from vpr_ros.training.synthetic.world.route import plan_route

    drive, points = planned(city, condition, length_m), plan_route(city, length_m, 0, LAP_M).points
    scene, light, info = drive.scene(city), make_light(drive.conditions), camera_of(drive.camera)
    rclpy.init()
    node, found = rclpy.create_node("robot"), []
    clock = node.create_publisher(Clock, "/clock", 10)

    def say(topic: str, message) -> None:
        made[topic].publish(bytes(typestore().serialize_cdr(message, message.__msgtype__)))

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    kinds = {IMAGE: "CompressedImage", INFO: "CameraInfo"}
    made = {topic: node.create_publisher(get_message(f"sensor_msgs/msg/{k}"), topic, 100) for topic, k in kinds.items()}
    made[TRUTH] = node.create_publisher(get_message("geometry_msgs/msg/PoseStamped"), TRUTH, 100)
    made["/tf"] = node.create_publisher(TFMessage, "/tf", 100)
    made["/tf_static"] = node.create_publisher(TFMessage, "/tf_static", latched)
    mounting = ("base_link", "camera_link", drive.T_base_cameralink)
    say("/tf_static", tf_msg([mounting, ("camera_link", "camera_optical_frame", drive.T_cameralink_optical)], START_NS))

    def on_tf(message: TFMessage) -> None:
        found.extend(
            rigid(one.transform.translation, one.transform.rotation)
            for one in message.transforms
            if one.header.frame_id == "map"
        )

    node.create_subscription(TFMessage, "/tf", on_tf, 100)

    def hear() -> None:
        with suppress(ExternalShutdownException):
            rclpy.spin(node)

    hearing = threading.Thread(target=hear)
    hearing.start()
    wheels, follower = Wheels(drive.conditions.seed), Follower(points)
    # Not where the map's drive began, and not quite along the lane.
    start, heading = points[8], np.arctan2(*(points[9] - points[8])[::-1])
    T_map_base = planar_transform(start[0] + 0.3, start[1] - 0.2, heading + 0.03)
    began, tick = time.monotonic() + 3.0, 0
    while follower.along < len(points) - 6:
        now = START_NS + tick * SECOND_NS // TICKS_HZ
        for part in range(5):
            stamp = now - SECOND_NS // TICKS_HZ + (part + 1) * SECOND_NS // TICKS_HZ // 5
            time.sleep(max(0.0, began + (tick + (part + 1) / 5 - 1) / TICKS_HZ / rate - time.monotonic()))
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(stamp, SECOND_NS)
            clock.publish(message)
        say("/tf", tf_msg([("odom", "base_link", wheels.T_odom_base)], now))
        if tick % PICTURE_EVERY == 0:
            picture = render_image(scene, light, drive.camera, T_map_base, [drive.conditions.seed, tick])
            say(INFO, camera_info_msg(info.K, info.width, info.height, now))
            say(IMAGE, compressed_image_msg(picture, now, quality=drive.camera.jpeg_quality))
            say(TRUTH, pose_msg(T_map_base, now))
        speed, turn = follower.command(found[-1] @ wheels.T_odom_base) if found else (ROLL_M_S, 0.0)
        length, turned = speed / TICKS_HZ, turn / TICKS_HZ
        T_map_base = T_map_base @ planar_transform(length, 0, turned)
        wheels.roll(length, turned)
        tick += 1
        if np.linalg.norm(points - T_map_base[:2, 3], axis=1).min() > LOST_M:
            print(f"lost {LOST_M:g} m off its way, after {follower.along} of {len(points)} m", flush=True)
            break
    else:
        print(f"came to the end of its way, {len(points)} m", flush=True)
    rclpy.shutdown()
    hearing.join()


def draw(path: Path, points: np.ndarray, xy: np.ndarray, wheels_xy: np.ndarray, rows: np.ndarray, title: str) -> None:
    """The way from above, and errors over time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    axes[0].plot(*points.T, color="tab:gray", lw=4, alpha=0.4, label="way that it shall drive")
    axes[0].plot(*wheels_xy.T, color="tab:orange", lw=1, label="where its wheels alone take it to be")
    axes[0].plot(*xy.T, color="tab:blue", lw=1.2, label="where it drove")
    axes[0].set_aspect("equal", "datalim")
    axes[0].set(xlabel="m", ylabel="m", title=title)
    axes[0].legend(fontsize=8)
    for i, colour, label in ((3, "tab:orange", "wheels alone"), (1, "tab:blue", "map -> odom -> base_link")):
        axes[1].semilogy(rows[:, 0], rows[:, i], color=colour, label=label)
    axes[1].set(xlabel="s", ylabel="error of the position (m)")
    axes[1].set_ylim(bottom=1e-3)
    axes[1].grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def driven(settings: argparse.Namespace, condition: str, length_m: float) -> list:
    """One run: prints, draws, writes its rows; a row of the table."""
    from vpr_ros.training.synthetic.world.route import plan_route

    call = f"import driving; driving.robot({settings.city}, {condition!r}, {length_m}, {settings.rate})"
    with tempfile.TemporaryDirectory() as folder:
        listener = Listener(Path(folder), settings)
        try:
            listener.activate()
            listener.hear(call)
        finally:
            log = listener.close()
    print(log)
    rows = errors(listener)
    fixed = rows[np.isfinite(rows[:, 1])]
    if not len(fixed):
        raise SystemExit("no transform was published")
    points = plan_route(settings.city, length_m, 0, LAP_M).points
    truth = dict(sorted(listener.truth.items()))
    xy = np.array([T[:2, 3] for T in truth.values()])
    along = np.arange(0, len(points) - 1, 0.05)
    line = np.column_stack([np.interp(along, np.arange(len(points)), points[:, k]) for k in range(2)])
    off = np.array([np.linalg.norm(line - one, axis=1).min() for one in xy[np.isfinite(rows[:, 1])]])
    times = np.array([at for at, _ in listener.states]) - min(truth) / SECOND_NS
    state_at = [listener.states[max(0, int(np.searchsorted(times, at)) - 1)][1] for at in rows[:, 0]]
    held = 100 * float(np.mean(np.array(state_at)[np.isfinite(rows[:, 1])] == "held"))
    wheels = dict(listener.links[("odom", "base_link")])
    first = list(truth)[int(np.flatnonzero(np.isfinite(rows[:, 1]))[0])]
    anchor = truth[first] @ np.linalg.inv(wheels[first])
    wheels_xy = np.array([(anchor @ wheels[stamp])[:2, 3] for stamp in truth if stamp in wheels])
    draw(settings.out / f"{condition}.png", points, xy, wheels_xy, rows, f"city {settings.city}, {condition}")
    with open(settings.out / f"{condition}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["s", "m", "deg", "wheels alone m", "wheels alone deg", "state"])
        writer.writerows([*map(float, row), state] for row, state in zip(rows, state_at, strict=True))
    driven_m = float(np.linalg.norm(np.diff(xy, axis=0), axis=1).sum())
    ended = "yes" if "came to the end of its way" in log else "no"
    quantiles = [*np.percentile(fixed[:, 1], (50, 95)), fixed[:, 1].max(), *np.percentile(fixed[:, 2], (50, 95))]
    numbers = [*quantiles, fixed[:, 3].max(), *np.percentile(off, (50, 95)), off.max()]
    return [condition, f"{driven_m:.0f} m", ended, f"{fixed[0, 0]:.1f} s", f"{held:.0f} %"] + [
        f"{v:.2f}" for v in numbers
    ]


def main() -> None:
    """Map, drive and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/driving"))
    parser.add_argument("--city", type=int, default=2072)
    parser.add_argument("--conditions", nargs="+", default=["night", "winter"])
    parser.add_argument("--rate", type=float, default=0.33, help="of simulated time")
    parser.add_argument("--set", nargs="*", default=["verify=camera"], metavar="NAME=VALUE", help="node's parameters")
    settings = parser.parse_args()
    from vpr_ros.offline.map_bag import MapBagConfig, map_bag
    from vpr_ros.runtime.opening import load_extractor
    from vpr_ros.runtime.settings import PipelineConfig
    from vpr_ros.sensors import DriveTopics
    from vpr_ros.training.synthetic import write_drive_bag

    settings.out.mkdir(parents=True, exist_ok=True)
    lap_m, bag = lap_of(settings.city), settings.out / f"{settings.city}_map"
    settings.map = str(settings.out / f"{settings.city}.vpr")
    if not bag.exists():
        write_drive_bag(bag, planned(settings.city, "day", lap_m + 10.0, lidar=True))
    if not Path(settings.map).exists():
        config = MapBagConfig(topics=DriveTopics(pose=TRUTH))
        print(map_bag(bag, settings.map, load_extractor(PipelineConfig(device="cpu")), config).features)
    table = [driven(settings, condition, lap_m + AGAIN_M) for condition in settings.conditions]
    error, off = "m median | m p95 | m max | deg median | deg p95", "off its way, m median | m p95 | m max"
    print(f"| | driven | to its end | first fix | held | {error} | wheels alone, m max | {off} |\n" + "|---" * 14 + "|")
    for row in table:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
