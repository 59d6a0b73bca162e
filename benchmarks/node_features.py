"""The node `vpr` with local features off and on, side by side: latency from an image's stamp to its match.

The pictures of a bag, one after another and again from the first, sent at a rate by a camera in a process of its own
and stamped by the system's clock when they leave; no odometry. Variants follow one another in each repeat, in turns, so
that what else the machine does strikes all of them alike. Needs a sourced ROS 2 and a map with local features.

    python benchmarks/node_features.py --map town.vpr --bag night --repeats 3
"""

# pyright: reportMissingImports=false
# (ROS comes from its own installation.)

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from node import WARM_UP, Bench, write_rows  # noqa: E402

VARIANTS: dict[str, dict[str, Any]] = {
    "off": {"local_features": "none"},
    "on": {},
    "on, every frame": {"local_rest_at": 1.0},
    "on, verify camera": {"verify": "camera"},
}
EVENTS = ("matched", "resting", "over budget")
DIAGNOSTICS_S = 2.5  # they come once a second


class FeaturesBench(Bench):
    """Beside the latencies, what became of the frames as the diagnostics count them."""

    def __init__(self, folder: Path, settings: argparse.Namespace, **changes: Any):
        from diagnostic_msgs.msg import DiagnosticArray

        super().__init__(folder, settings, **changes)
        self.counts = dict.fromkeys(EVENTS, 0)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 100)

    def _on_diagnostics(self, message: Any) -> None:
        for status in message.status:
            for pair in status.values:
                event = pair.key.removeprefix("local features: frames ")
                if event in self.counts:
                    self.counts[event] = int(pair.value)

    def measure(self, rate_hz: float, seconds: float) -> tuple[np.ndarray, int, np.ndarray]:
        """Latencies in ms, images sent, and how many of them were matched, rested and exceeded the budget."""
        import rclpy

        before = list(self.counts.values())
        latencies, sent = self.run(rate_hz, seconds)
        until = time.monotonic() + DIAGNOSTICS_S
        while time.monotonic() < until:
            rclpy.spin_once(self.node, timeout_sec=0.05)
        return latencies, sent, np.subtract(list(self.counts.values()), before)


def copy_pictures(bag: str, folder: Path) -> int:
    """The compressed pictures of a bag as files in their order; how many."""
    from rosbags.highlevel import AnyReader

    count = 0
    with AnyReader([Path(bag)]) as reader:
        wanted = [c for c in reader.connections if c.msgtype.endswith("/CompressedImage")]
        for connection, _, raw in reader.messages(wanted):
            data = reader.deserialize(raw, connection.msgtype).data  # pyright: ignore[reportAttributeAccessIssue]
            (folder / f"{count:06d}.jpg").write_bytes(data.tobytes())
            count += 1
    return count


def main() -> None:
    """Measure and print; with --out also write node_features.csv."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--map", required=True)
    parser.add_argument("--bag", required=True)
    parser.add_argument("--rates", type=float, nargs="+", default=[2.0, 5.0, 10.0, 30.0])
    parser.add_argument("--seconds", type=float, default=15.0, help="of each rate in each repeat")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.15, help="local_budget_s")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", default="nano")
    parser.add_argument("--out", type=Path, help="folder for node_features.csv")
    settings = parser.parse_args()
    settings.raw = False
    try:
        import rclpy  # noqa: F401
    except ImportError:
        raise SystemExit(
            "benchmarks/node_features.py needs ROS 2: rclpy cannot be imported, source its setup"
        ) from None

    found: dict[tuple[float, str], list] = {(rate, name): [] for rate in settings.rates for name in VARIANTS}
    names, log = list(VARIANTS), ""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        count = copy_pictures(settings.bag, folder)
        for repeat in range(settings.repeats):
            for name in np.roll(names, repeat).tolist():
                changes = {"map_path": settings.map, "local_budget_s": settings.budget, **VARIANTS[name]}
                bench = FeaturesBench(folder, settings, **changes)
                try:
                    bench.activate()
                    for rate in settings.rates:
                        latencies, sent, counts = bench.measure(rate, settings.seconds)
                        if not len(latencies):
                            raise SystemExit(f"no answers at {rate:g} Hz:\n{(folder / 'node.log').read_text()}")
                        p50, p95 = np.percentile(latencies, (50, 95))
                        lost = sent - len(latencies) - WARM_UP
                        found[rate, name].append((p50, p95, latencies.max(), *counts, sent, lost))
                finally:
                    bench.close()
                log = (folder / "node.log").read_text() if name == "on" else log
    print(
        f"{settings.checkpoint}, {settings.threads} thread(s), budget {settings.budget:g} s, {count} pictures of "
        f"{Path(settings.bag).name}, map {Path(settings.map).name}; medians of {settings.repeats} repeats of "
        f"{settings.seconds:g} s\n{next(line for line in log.splitlines() if 'local features' in line)}\n"
    )
    columns = ("p50 (ms)", "p95 (ms)", "max (ms)", *EVENTS, "sent", "not answered")
    header = ("Hz", "local features", *columns, "p95 grows by (ms)")
    rows = []
    print("| " + " | ".join(header) + " |\n" + "|---" * len(header) + "|")
    for (rate, name), values in found.items():
        grown = np.median(np.subtract(values, found[rate, "off"])[:, 1])
        rows.append((rate, name, *np.median(values, axis=0).tolist(), float(grown)))
        numbers = [*(f"{v:.1f}" for v in rows[-1][2:5]), *(f"{v:.0f}" for v in rows[-1][5:10]), f"{grown:.1f}"]
        print(f"| {rate:g} | {name} | " + " | ".join(numbers) + " |")
    if settings.out:
        write_rows(settings.out / "node_features.csv", header, rows)


if __name__ == "__main__":
    main()
