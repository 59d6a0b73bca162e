"""Forward time of the student as a ratio to the bare timm ViT-S/14, and descriptions per second of a checkpoint.

Each sample is divided by the mean of the reference's times just before and after it; a second copy of the reference is
timed the same way as a control (it should read 1.00). Times are process CPU times, so that other work on the machine
counts little. Ours is the inference form, from uint8 pixels on. The naive formulation computes the offset field again
for each of the 13 regions and samples them one by one.

    python benchmarks/student.py --out runs/bench_student
"""

from __future__ import annotations

import os

# before torch is imported: waiting OpenMP workers would burn CPU time that is then counted
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"
os.environ["OPENBLAS_THREAD_TIMEOUT"] = "4"  # as vpr_ros/idle_threads.py says

import argparse
import csv
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from vpr_ros.student import D2VPR, SMALL, DescriptorExtractor
from vpr_ros.student.inference import inference_form
from vpr_ros.student.regions import region_table, sample_tokens

TARGET = 1.17


class PerRegion(nn.Module):
    """The same student as the method is usually written: generator and sampling once per region, nothing folded."""

    def __init__(self, student: D2VPR) -> None:
        super().__init__()
        self.student = student

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 14*dim) unit descriptors."""
        student = self.student
        aggregator: Any = student.aggregator
        backbone: Any = student.backbone
        tokens, grid = backbone.embed(x)
        tapped = []
        block: Any
        for number, block in enumerate(backbone.blocks, start=1):
            tokens = tokens + block.ls1(block.attn(block.norm1(tokens)))
            normed = block.norm2(tokens)
            tokens = tokens + block.ls2(block.mlp(normed) + block.adapter_scale * block.adapter(normed, grid))
            if number in backbone.taps:
                tapped.append(tokens)
        lifted = student.recovery(tapped)
        whole, patches = lifted[:, 0], lifted[:, 1:]
        both = torch.cat([patches, whole[:, None].expand_as(patches)], dim=2)
        pooled, points, start = [], [], 0
        for *_, rows, cols in region_table(student.config.medium_samples, student.config.small_samples):
            field = aggregator.offsets.second(F.relu(aggregator.offsets.first(both)))
            moved = aggregator.deform(aggregator.read_field(field, grid), aggregator.grid)[
                :, start : start + rows * cols
            ]
            samples = F.normalize(sample_tokens(patches, grid, moved), dim=2)
            pooled.append(samples.clamp(min=1e-6).pow(aggregator.p).mean(dim=1).pow(1 / aggregator.p))
            points.append(moved)
            start += rows * cols
        where = torch.cat(points, dim=1)
        vectors = aggregator.fuse(whole, torch.stack(pooled, dim=1), where, aggregator.grid)
        vectors = vectors + aggregator.positions(where, where, aggregator.grid)
        return F.normalize(vectors.flatten(1), dim=1)


def cpu_time(call: Callable[[], object]) -> float:
    """CPU seconds of one call, of all threads; wall seconds on a GPU."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    call()
    return time.process_time() - started


def ratios(reference: Callable, sides: dict[str, Callable], rounds: int) -> tuple[dict[str, np.ndarray], float]:
    """Reference, side, reference, side, ...: ratios (rounds,) per side, median reference time in seconds."""
    for call in (reference, *sides.values()):
        call()
    collected: dict[str, list[float]] = {name: [] for name in sides}
    times = [cpu_time(reference)]
    for _ in range(rounds):
        for name, call in sides.items():
            taken = cpu_time(call)
            times.append(cpu_time(reference))
            collected[name].append(2 * taken / (times[-2] + times[-1]))
    return {name: np.array(values) for name, values in collected.items()}, float(np.median(times))


def randomised(model: Any) -> Any:
    """Parameters away from their initial zeros, because zeros could be faster."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.02)
    return model.eval()


def main() -> None:
    """Measure, print a table, write student.csv and student.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_student"))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--checkpoint", default="nano", help="whose descriptions per second are measured")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bare = randomised(timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=224)).to(
        device
    )
    students = {
        reading: randomised(D2VPR(SMALL.replace(reading=reading))).to(device) for reading in ("corrected", "released")
    }
    forms = {reading: inference_form(student) for reading, student in students.items()}
    naive = PerRegion(students["released"])
    rows = []
    with torch.inference_mode():
        for batch in (1, 8):
            x = torch.randn(batch, 3, 224, 224, device=device)
            pixels = torch.randint(0, 256, (batch, 224, 224, 3), dtype=torch.uint8, device=device)
            difference = float((naive(x) - students["released"](x)).abs().max())
            sides = {
                "control (bare ViT-S/14)": lambda x=x: bare(x),
                "ours, corrected": lambda x=pixels: forms["corrected"](x),
                "ours, released": lambda x=pixels: forms["released"](x),
                "ours, nothing folded": lambda x=x: students["corrected"](x),
                "naive per region": lambda x=x: naive(x),
            }
            measured, reference_s = ratios(
                lambda x=x: bare(x), sides, args.rounds if batch == 1 else max(3, args.rounds // 3)
            )
            for name, values in measured.items():
                low, middle, high = np.percentile(values, (25, 50, 75))
                rows.append(
                    {
                        "batch": batch,
                        "network": name,
                        "ratio": round(float(middle), 3),
                        "quartile1": round(float(low), 3),
                        "quartile3": round(float(high), 3),
                        "reference_ms": round(1e3 * reference_s, 1),
                        "naive_minus_ours": difference,
                    }
                )
    torch.set_num_threads(1)
    speeds = {}
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 255, (480, 640, 3), dtype=np.uint8) for _ in range(8)]
    extractor = DescriptorExtractor.from_checkpoint(args.checkpoint, device="cpu", batch_size=8)
    for batch in (1, 8):
        extractor.describe(frames[:batch])
        taken = []
        for _ in range(4 * args.rounds):
            started = time.process_time()
            extractor.describe(frames[:batch])
            taken.append(time.process_time() - started)
        speeds[f"batch {batch}"] = round(batch / float(np.median(taken)), 1)
    print(f"{'batch':>5}  {'network':26} {'ratio':>6}  quartiles    ({platform.machine()}, {args.threads} thread(s))")
    for row in rows:
        print(
            f"{row['batch']:>5}  {row['network']:26} {row['ratio']:>6.3f}"
            f"  {row['quartile1']:.3f}-{row['quartile3']:.3f}"
            f"   reference {row['reference_ms']} ms"
        )
    height, width = extractor.model.config.image_size
    print(
        f"{extractor.name}, 480x640 frames to {height}x{width}, one core: "
        + ", ".join(f"{v} descriptions/s at {k}" for k, v in speeds.items())
    )
    ours = next(row["ratio"] for row in rows if row["batch"] == 1 and row["network"] == "ours, corrected")
    print(f"ours at batch 1: {ours:.3f} (target {TARGET}: {'met' if ours <= TARGET else 'not met'})")
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "student.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    context = {"torch": torch.__version__, "timm": timm.__version__, "device": str(device), "threads": args.threads}
    result = {"ratios": rows, "descriptions_per_s": speeds, "input": [height, width], **context}
    (args.out / "student.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
