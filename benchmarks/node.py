"""The node `vpr` under load: latency from an image's stamp to its match, and of parameter calls meanwhile.

A real node, a camera in a process of its own (640x480, stamped by the system's clock when an image leaves) and a
subscriber here, all on this machine. The reference is the bare network: `describe` of the same pictures, decoded, with
the same threads, timed in this process while nothing else runs. Needs a sourced ROS 2.

    python benchmarks/node.py --repeats 3
"""

# pyright: reportMissingImports=false
# (ROS comes from its own installation.)

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

CITY, PICTURES, WARM_UP, FLOOD_HZ = 2110, 12, 5, 100.0
SECOND_NS = 1_000_000_000


def pictures() -> list[np.ndarray]:
    """Rendered street scenes (480, 640, 3) uint8 RGB."""
    from vpr_ros.training.synthetic import CameraConfig, plan_drive

    drive = plan_drive(CITY, camera=CameraConfig(640, 480), length_m=10.0 * PICTURES, spacing_m=10.0)
    return [frame.image for frame in drive.frames(with_clouds=False)]


def make_map(path: Path, extractor, images: list[np.ndarray], keyframes: int) -> None:
    """The pictures among random keyframes 2 m apart."""
    from vpr_ros.geometry import planar_transform
    from vpr_ros.place_map import PlaceMap

    rng = np.random.default_rng(0)
    rows = rng.standard_normal((keyframes, extractor.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[: len(images)] = extractor.describe(images)
    place_map = PlaceMap.create(
        path,
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        place_radius_m=10.0,
        preprocessing=extractor.preprocessing,
        model_name=extractor.name,
    )
    with place_map:
        session = place_map.start_session("bench")
        for i, row in enumerate(rows):
            T = planar_transform(2.0 * i, 0.0, 0.0)
            place_map.add(session, (i + 1) * SECOND_NS, row, T, T)


def read(file: Path) -> np.ndarray:
    """A picture (H, W, 3) uint8 RGB."""
    from vpr_ros.pictures import read as read_picture

    image = read_picture(file)
    assert image is not None
    return image


def camera(rate_hz: float, seconds: float, folder: str, raw: bool) -> None:
    """The camera's process: publishes at a rate, then prints how many images it sent."""
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import CompressedImage, Image

    rclpy.init()
    node = rclpy.create_node("camera")
    kind, topic = (Image, "image") if raw else (CompressedImage, "image/compressed")
    publisher = node.create_publisher(kind, topic, qos_profile_sensor_data)
    messages = []
    for file in sorted(Path(folder).glob("*.jpg")):
        if raw:
            image = read(file)
            msg = Image(height=image.shape[0], width=image.shape[1], encoding="rgb8", step=3 * image.shape[1])
            msg.data = image.tobytes()
        else:
            msg = CompressedImage(format="jpeg", data=file.read_bytes())
        msg.header.frame_id = "camera_optical_frame"
        messages.append(msg)
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    started, sent = time.monotonic(), 0
    while (due := started + sent / rate_hz) < started + seconds:
        time.sleep(max(0.0, due - time.monotonic()))
        msg = messages[sent % len(messages)]
        msg.header.stamp.sec, msg.header.stamp.nanosec = divmod(time.time_ns(), SECOND_NS)
        publisher.publish(msg)
        sent += 1
    print(sent, flush=True)
    rclpy.shutdown()


class Bench:
    """The node under test and its subscriber."""

    def __init__(self, folder: Path, settings: argparse.Namespace, **changes: Any):
        import rclpy
        from vision_msgs.msg import Detection3D

        self.settings, self.folder = settings, folder
        self.log = (folder / "node.log").open("w")
        parameters = {
            "map_path": folder / "bench.vpr",
            "threads": settings.threads,
            "checkpoint": settings.checkpoint,
            "compressed": str(not settings.raw).lower(),
            "odom_source": "none",
            **changes,
        }
        arguments = [text for name, value in parameters.items() for text in ("-p", f"{name}:={value}")]
        self.process = self._python("from vpr_ros.nodes.main import vpr_node; vpr_node()", "--ros-args", *arguments)
        rclpy.init()
        self.node = rclpy.create_node("bench")
        self.latencies_ms: list[float] = []
        self.node.create_subscription(Detection3D, "/vpr/matches", self._on_match, 100)

    def _python(self, code: str, *arguments: str, output: Any = None) -> subprocess.Popen:
        command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}", *arguments]
        return subprocess.Popen(command, stdout=output or self.log, stderr=self.log)

    def _on_match(self, msg) -> None:
        stamp_ns = msg.header.stamp.sec * SECOND_NS + msg.header.stamp.nanosec
        self.latencies_ms.append((time.time_ns() - stamp_ns) / 1e6)

    def client(self, kind, name: str):
        """A service of the node."""
        client = self.node.create_client(kind, f"/vpr/{name}")
        if not client.wait_for_service(30.0):
            raise SystemExit(f"the node offers no {name}:\n{(self.folder / 'node.log').read_text()}")
        return client

    def call(self, client, request):
        """The answer of a service."""
        import rclpy

        future = client.call_async(request)
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=60.0)
        return future.result()

    def activate(self) -> None:
        """Configure and activate."""
        from lifecycle_msgs.srv import ChangeState, GetState

        change, state = self.client(ChangeState, "change_state"), self.client(GetState, "get_state")
        self.call(state, GetState.Request())
        for transition in (1, 3):
            request = ChangeState.Request()
            request.transition.id = transition
            if not self.call(change, request).success:
                raise SystemExit((self.folder / "node.log").read_text())

    def run(self, rate_hz: float, seconds: float, meanwhile=None) -> tuple[np.ndarray, int]:
        """Latencies in ms after the warm-up, and how many images were sent."""
        import rclpy

        self.latencies_ms.clear()
        publisher = self._python(
            f"sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); import node; "
            f"node.camera({rate_hz}, {seconds}, {str(self.folder)!r}, {self.settings.raw})",
            output=subprocess.PIPE,
        )
        while publisher.poll() is None:
            if meanwhile is not None and len(self.latencies_ms) > WARM_UP:
                meanwhile()
            rclpy.spin_once(self.node, timeout_sec=0.05)
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            rclpy.spin_once(self.node, timeout_sec=0.05)
        assert publisher.stdout is not None
        return np.array(self.latencies_ms[WARM_UP:]), int(publisher.stdout.read())

    def parameter_calls(self, count: int) -> np.ndarray:
        """Answer times in ms of get_parameters while images arrive at FLOOD_HZ."""
        from rcl_interfaces.srv import GetParameters

        client, taken = self.client(GetParameters, "get_parameters"), []
        request = GetParameters.Request(names=["accept_probability"])

        def call() -> None:
            if len(taken) < count:
                started = time.perf_counter()
                self.call(client, request)
                taken.append(1e3 * (time.perf_counter() - started))

        while len(taken) < count:
            self.run(FLOOD_HZ, 5.0, call)
        return np.array(taken)

    def close(self) -> None:
        """End the node and shut ROS down."""
        import rclpy

        self.process.terminate()
        self.process.wait(20)
        self.node.destroy_node()
        rclpy.shutdown()
        self.log.close()


def bare(extractor, images: list[np.ndarray], count: int = 60) -> np.ndarray:
    """Times in ms of describing one picture."""
    times = []
    for i in range(count + WARM_UP):
        started = time.perf_counter()
        extractor.describe([images[i % len(images)]])
        times.append(1e3 * (time.perf_counter() - started))
    return np.array(times[WARM_UP:])


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    """A table as CSV."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def main() -> None:
    """Measure and print; with --out also write node.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="+", default=[5.0, 10.0, 30.0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate in each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--calls", type=int, default=50, help="parameter calls of each repeat")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keyframes", type=int, default=2000)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--raw", action="store_true", help="Image instead of CompressedImage")
    parser.add_argument("--out", type=Path, help="folder for node.csv")
    settings = parser.parse_args()
    try:
        import rclpy  # noqa: F401
    except ImportError:
        raise SystemExit("benchmarks/node.py needs ROS 2: rclpy cannot be imported, source its setup file") from None
    import torch

    from vpr_ros.pictures import encode
    from vpr_ros.student import DescriptorExtractor

    torch.set_num_threads(settings.threads)
    extractor = DescriptorExtractor.from_checkpoint(settings.checkpoint, device="cpu")
    rows: dict[float, list] = {rate: [] for rate in settings.rates}
    calls = []
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(pictures()):
            Path(folder, f"{i:02d}.jpg").write_bytes(encode(image, quality=90))
        # From the files: what the network gets in the node.
        images = [read(file) for file in sorted(Path(folder).glob("*.jpg"))]
        make_map(Path(folder) / "bench.vpr", extractor, images, settings.keyframes)
        bench = Bench(Path(folder), settings)
        try:
            bench.activate()
            for _ in range(settings.repeats):
                for rate in settings.rates:
                    idle = float(np.median(bare(extractor, images)))
                    latencies, sent = bench.run(rate, settings.seconds)
                    if not len(latencies):
                        raise SystemExit(f"no answers at {rate:g} Hz:\n{(Path(folder) / 'node.log').read_text()}")
                    p50, p95 = np.percentile(latencies, (50, 95))
                    rows[rate].append((idle, p50, p95, p50 / idle, p95 / idle, sent, sent - len(latencies) - WARM_UP))
                calls.append(bench.parameter_calls(settings.calls))
        finally:
            bench.close()
    kind = "raw" if settings.raw else "JPEG"
    print(
        f"{settings.checkpoint}, {settings.threads} thread(s), {settings.keyframes} keyframes, 640x480 {kind}; "
        f"medians of {settings.repeats} repeats of {settings.seconds:g} s\n"
    )
    header = ("Hz", "bare (ms)", "p50 (ms)", "p95 (ms)", "p50/bare", "p95/bare", "sent", "not answered")
    table = [(rate, *np.median(values, axis=0)) for rate, values in rows.items()]
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for rate, idle, p50, p95, r50, r95, sent, dropped in table:
        print(f"| {rate:g} | {idle:.1f} | {p50:.1f} | {p95:.1f} | {r50:.2f} | {r95:.2f} | {sent:.0f} | {dropped:.0f} |")
    print(
        f"\nget_parameters during a flood of {FLOOD_HZ:g} images/s: median {np.median(calls):.1f} ms, "
        f"p95 {np.percentile(calls, 95):.1f}, at most {np.max(calls):.1f} of {np.size(calls)}"
    )
    if settings.out:
        write_rows(settings.out / "node.csv", header, table)


if __name__ == "__main__":
    main()
