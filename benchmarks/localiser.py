"""map -> odom from the node `vpr` (publish_tf) along a bag: its error over time, and what of the time it was held.

A real node, a player in a process of its own (with /clock, so the node runs in simulated time) and a listener here, all
on this machine. The error is that of the robot's pose as somebody sees it who asks TF for map -> base_link at a time of
which the bag has the truth: map -> odom as it was published, interpolated by stamps, with the bag's odometry. Beside
it what odometry alone would say from the first fix on. Needs a sourced ROS 2, a map with clouds, and a bag with images,
clouds, odom -> base_link in /tf, and /ground_truth/pose in the map's frame.

    python benchmarks/localiser.py --map town.vpr --bag night --blind 40 20 --plot error.png
"""

# pyright: reportMissingImports=false
# (ROS comes from its own installation.)

import argparse
import csv
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

IMAGE, POINTS, ODOM, INFO = "/camera/image/compressed", "/points", "/odom", "/camera/camera_info"
TRUTH, CLOCK_HZ, SECOND_NS = "/ground_truth/pose", 100, 1_000_000_000
JUMP_M = 0.5  # a larger step of one transform to the next is a jump


def play(bag: str, rate: float, blind_from_s: float, blind_s: float, tail_s: float) -> None:
    """The player's process: the bag's messages by their times, and /clock; no image of the blind stretch."""
    import rclpy
    from rclpy.qos import DurabilityPolicy, QoSProfile
    from rosbags.highlevel import AnyReader
    from rosgraph_msgs.msg import Clock
    from rosidl_runtime_py.utilities import get_message

    rclpy.init()
    node = rclpy.create_node("player")
    clock = node.create_publisher(Clock, "/clock", 10)
    with AnyReader([Path(bag)]) as reader:
        publishers = {}
        for connection in reader.connections:
            durability = DurabilityPolicy.TRANSIENT_LOCAL if connection.topic == "/tf_static" else None
            qos = QoSProfile(depth=100, durability=durability or DurabilityPolicy.VOLATILE)
            kind = get_message(connection.msgtype)
            publishers[connection.topic] = node.create_publisher(kind, connection.topic, qos)
        begin = reader.start_time
        now, started = begin - SECOND_NS, time.monotonic() + 3.0  # first a second of the clock alone

        def until(at: int) -> None:
            nonlocal now
            while now < at:
                now = min(now + SECOND_NS // CLOCK_HZ, at)
                time.sleep(max(0.0, started + (now - begin) / SECOND_NS / rate - time.monotonic()))
                message = Clock()
                message.clock.sec, message.clock.nanosec = divmod(now, SECOND_NS)
                clock.publish(message)

        for connection, at, raw in reader.messages():
            until(at)
            since_s = (at - begin) / SECOND_NS
            if connection.topic != IMAGE or not blind_from_s <= since_s < blind_from_s + blind_s:
                publishers[connection.topic].publish(bytes(raw))
        until(now + round(tail_s * SECOND_NS))
    rclpy.shutdown()


class Listener:
    """What came on TF, on the truth's topic and in /diagnostics, by stamps."""

    def __init__(self, folder: Path, settings: argparse.Namespace):
        import rclpy
        from diagnostic_msgs.msg import DiagnosticArray
        from geometry_msgs.msg import PoseStamped
        from tf2_msgs.msg import TFMessage

        rclpy.init()
        self.node = rclpy.create_node("listener")
        self.log = (folder / "node.log").open("w")
        self.links: dict[tuple[str, str], list[tuple[int, np.ndarray]]] = {}
        self.truth: dict[int, np.ndarray] = {}
        self.states: list[tuple[float, str]] = []
        self.arrived_s: list[float] = []
        self.counts: dict[str, str] = {}
        parameters = {
            "map_path": settings.map,
            "compressed": "true",
            "use_sim_time": "true",
            "publish_tf": "true",
            **dict(pair.split("=", 1) for pair in settings.set),
        }
        arguments = [text for name, value in parameters.items() for text in ("-p", f"{name}:={value}")]
        for source, target in (("image/compressed", IMAGE), ("points", POINTS), ("odom", ODOM), ("camera_info", INFO)):
            arguments += ["-r", f"{source}:={target}"]
        self.process = self._python("from vpr_ros.nodes.main import vpr_node; vpr_node()", "--ros-args", *arguments)
        self.node.create_subscription(TFMessage, "/tf", self._on_tf, 1000)
        self.node.create_subscription(PoseStamped, TRUTH, self._on_truth, 1000)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)

    def _python(self, code: str, *arguments: str) -> subprocess.Popen:
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", *arguments]
        return subprocess.Popen(command, stdout=self.log, stderr=self.log)

    def _on_tf(self, message: Any) -> None:
        from vpr_ros.sensors.payload import stamp_ns
        from vpr_ros.sensors.poses.trajectory import rigid

        for link in message.transforms:
            T = rigid(link.transform.translation, link.transform.rotation)
            self.links.setdefault((link.header.frame_id, link.child_frame_id), []).append((stamp_ns(link), T))
            if link.child_frame_id == "odom":
                self.arrived_s.append(time.monotonic())

    def _on_truth(self, message: Any) -> None:
        from vpr_ros.sensors.payload import stamp_ns
        from vpr_ros.sensors.poses.trajectory import rigid

        self.truth[stamp_ns(message)] = rigid(message.pose.position, message.pose.orientation)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            if status.name.endswith(": tf") and self.truth:
                self.counts = {pair.key: pair.value for pair in status.values}
                self.states.append((max(self.truth) / SECOND_NS, self.counts.get("state", "")))

    def activate(self) -> None:
        """Configure and activate the node."""
        import rclpy
        from lifecycle_msgs.srv import ChangeState

        client = self.node.create_client(ChangeState, "/vpr/change_state")
        if not client.wait_for_service(30.0):
            raise SystemExit("the node offers no change_state")
        for transition in (1, 3):
            request = ChangeState.Request()
            request.transition.id = transition
            future = client.call_async(request)
            rclpy.spin_until_future_complete(self.node, future, timeout_sec=60.0)
            result = future.result()
            if result is None or not result.success:
                raise SystemExit(f"the node refused:\n{Path(self.log.name).read_text()}")

    def hear(self, player: str) -> None:
        """Listen until a program of Python, run in a process of its own, is over."""
        import rclpy

        process = self._python(f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); {player}")
        while process.poll() is None:
            rclpy.spin_once(self.node, timeout_sec=0.05)

    def close(self) -> str:
        """End the node; returns its log."""
        import rclpy

        self.process.send_signal(signal.SIGINT)
        self.process.wait(20)
        self.node.destroy_node()
        rclpy.shutdown()
        self.log.close()
        return Path(self.log.name).read_text()


def at(samples: list[tuple[int, np.ndarray]], stamp: int) -> np.ndarray | None:
    """The transform (4, 4) at a stamp, interpolated; None outside."""
    from vpr_ros.geometry import interpolate

    stamps = np.array([s for s, _ in samples])
    after = int(np.searchsorted(stamps, stamp))
    if after == len(stamps) or (after == 0 and stamps[0] != stamp):
        return None
    if stamps[after] == stamp:
        return samples[after][1]
    (s0, T0), (s1, T1) = samples[after - 1 : after + 1]
    return interpolate(T0, T1, (stamp - s0) / (s1 - s0))


def errors(listener: Listener) -> np.ndarray:
    """Rows (n, 5): seconds, error in m and degrees, and of odometry alone from the first fix on; NaN before the fix."""
    from vpr_ros.geometry import invert, rotation_angle

    sent = listener.links.get(("map", "odom"), [])
    odometry = listener.links[("odom", "base_link")]
    begin, rows, anchor = min(listener.truth), [], None
    for stamp, T_map_base in sorted(listener.truth.items()):
        T_odom_base, T_map_odom = at(odometry, stamp), at(sent, stamp) if sent else None
        row = [(stamp - begin) / SECOND_NS] + [np.nan] * 4
        if T_odom_base is not None and T_map_odom is not None:
            anchor = T_map_base @ invert(T_odom_base) if anchor is None else anchor
            for i, T in enumerate((T_map_odom, anchor)):
                seen = T @ T_odom_base
                row[1 + 2 * i] = float(np.linalg.norm((seen - T_map_base)[:2, 3]))
                row[2 + 2 * i] = float(np.degrees(rotation_angle(seen[:3, :3], T_map_base[:3, :3])))
        rows.append(row)
    return np.array(rows)


def steps_m(listener: Listener, tolerance_ns: int) -> np.ndarray:
    """By how much each transform moved the robot in the map against the one before it, in metres (n,)."""
    sent, odometry = listener.links.get(("map", "odom"), []), listener.links[("odom", "base_link")]
    steps = []
    for (_, T0), (s1, T1) in zip(sent[:-1], sent[1:], strict=True):
        T_odom_base = at(odometry, s1 - tolerance_ns)  # where the robot was when it was sent
        if T_odom_base is not None:
            steps.append(np.linalg.norm(((T1 - T0) @ T_odom_base)[:3, 3]))
    return np.array(steps)


def draw(path: Path, rows: np.ndarray, states: list[tuple[float, str]], title: str) -> None:
    """Errors over time, the background by the state."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, figsize=(9, 5.5), sharex=True, layout="constrained")
    for axes, i, unit in ((above, 1, "m"), (below, 2, "degrees")):
        axes.semilogy(rows[:, 0], rows[:, i + 2], color="tab:gray", label="odometry alone")
        axes.semilogy(rows[:, 0], rows[:, i], color="tab:blue", label="map -> odom -> base_link")
        axes.set_ylabel(f"error ({unit})")
        axes.set_ylim(bottom=10 ** (-3 if unit == "m" else -2))
        axes.grid(alpha=0.3)
        for (t0, state), (t1, _) in zip(states[:-1], states[1:], strict=True):
            if state != "following":
                axes.axvspan(t0, t1, color="tab:orange" if state == "held" else "tab:red", alpha=0.2, lw=0)
    above.legend(loc="lower right")
    above.set_title(title)
    below.set_xlabel("s (orange: held, red: waiting)")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Drive and print; with --out also write localiser.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", required=True)
    parser.add_argument("--bag", required=True)
    parser.add_argument("--rate", type=float, default=1.0)
    parser.add_argument("--blind", type=float, nargs=2, metavar=("FROM_S", "SECONDS"), help="no images meanwhile")
    parser.add_argument("--set", nargs="*", default=["verify=lidar"], metavar="NAME=VALUE", help="node's parameters")
    parser.add_argument("--plot", type=Path, help="picture of the errors over time")
    parser.add_argument("--out", type=Path, help="folder for localiser.csv")
    settings = parser.parse_args()
    try:
        import rclpy  # noqa: F401
    except ImportError:
        raise SystemExit("benchmarks/localiser.py needs ROS 2: rclpy cannot be imported, source its setup") from None
    from vpr_ros.runtime.map_to_odom.config import MapToOdomConfig

    with tempfile.TemporaryDirectory() as folder:
        listener = Listener(Path(folder), settings)
        try:
            listener.activate()
            begin_s, seconds = settings.blind or (0.0, 0.0)
            arguments = f"{settings.bag!r}, {settings.rate}, {begin_s}, {seconds}, 2.0"
            listener.hear(f"import localiser; localiser.play({arguments})")
        finally:
            log = listener.close()
    print(log)
    rows = errors(listener)
    begin_s = min(listener.truth) / SECOND_NS
    states = [(at_s - begin_s, state) for at_s, state in listener.states]
    fixed = rows[np.isfinite(rows[:, 1])]
    if not len(fixed):
        raise SystemExit("no transform was published")
    state_at = np.array([next((s for t, s in reversed(states) if t <= row[0]), "waiting") for row in rows])
    share = {s: 100 * float(np.mean(state_at == s)) for s in ("waiting", "following", "held")}
    steps = steps_m(listener, round(MapToOdomConfig.tolerance_s * SECOND_NS))
    gaps_s = np.diff(listener.arrived_s)
    print(f"{len(rows)} true poses, first fix seen after {fixed[0, 0]:.2f} s; share of time", end=" ")
    print(", ".join(f"{name} {value:.0f} %" for name, value in share.items()))
    print("| | poses | m median | m p95 | m max | deg median | deg p95 |\n|---|---|---|---|---|---|---|")
    following = np.isfinite(rows[:, 1]) & (state_at == "following")
    held = np.isfinite(rows[:, 1]) & (state_at == "held")
    for name, part, i in (
        ("all", np.isfinite(rows[:, 1]), 1),
        ("following", following, 1),
        ("held", held, 1),
        ("odometry alone", np.isfinite(rows[:, 1]), 3),
    ):
        if part.any():
            m, d = rows[part, i], rows[part, i + 1]
            print(
                f"| {name} | {part.sum()} | {np.median(m):.3f} | {np.percentile(m, 95):.3f} | {m.max():.3f} | "
                f"{np.median(d):.2f} | {np.percentile(d, 95):.2f} |"
            )
    print(
        f"\n{len(listener.arrived_s)} transforms, median every {1e3 * np.median(gaps_s):.0f} ms, p99 "
        f"{1e3 * np.percentile(gaps_s, 99):.0f} ms, at most {1e3 * gaps_s.max():.0f} ms; steps of the robot in the "
        f"map: p99 {np.percentile(steps, 99):.3f} m, {(steps > JUMP_M).sum()} above {JUMP_M:g} m"
    )
    print(listener.counts)
    if settings.plot:
        blind = f", no images from {settings.blind[0]:g} s for {settings.blind[1]:g} s" if settings.blind else ""
        draw(settings.plot, rows, states, f"{Path(settings.bag).name} against {Path(settings.map).name}{blind}")
    if settings.out:
        settings.out.mkdir(parents=True, exist_ok=True)
        with open(settings.out / "localiser.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["s", "m", "deg", "odometry alone m", "odometry alone deg", "state"])
            writer.writerows([*map(float, row), state] for row, state in zip(rows, state_at, strict=True))


if __name__ == "__main__":
    main()
