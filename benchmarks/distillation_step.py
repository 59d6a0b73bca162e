"""One training step of a distilled student as a ratio to that of the bare timm ViT-S/14, and where the rest goes.

A step is forward, loss, backward, clipping and optimiser, without data loading. The student's is that of `vpr_ros
train`: the contrastive task, and with it `relations`, or DistilVPR-S and -C with their head, against a teacher's cached
embeddings.
The reference is a plain loop over the bare backbone: the same task on its class token, the same optimiser and batch.
Each sample is divided by the mean of the reference's times just before and after it; a second bare backbone is the
control (it should read 1.00). Times are process CPU times, so that other work on the machine counts little; wall times
on a GPU. The teacher's forward (MinkLoc++ as published), which `teacher_view: online` adds, is in no ratio.

    python benchmarks/distillation_step.py --out runs/bench_distillation_step
    python benchmarks/distillation_step.py --batch 64 --precision bf16      # on a GPU
"""

from __future__ import annotations

import os

# before torch is imported: waiting OpenMP workers would burn CPU time that is then counted
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["GOMP_SPINCOUNT"] = "0"

import argparse
import csv
import json
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import timm
import torch
from sparse import lidar_like
from student import randomised
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student import D2VPR, SMALL
from vpr_ros.training.common.yaml_config import with_settings
from vpr_ros.training.losses import contrastive_loss
from vpr_ros.training.student.config import DistillationConfig, TrainConfig
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.optimiser import make_optimiser
from vpr_ros.training.student.teacher_cache import RunTeacher
from vpr_ros.training.teachers import load_teacher

TARGET, WIDTH, POINTS = 1.35, 256, 4096  # the teacher's width, and the points of a cloud
RECIPES = {"task alone": "", "task + relations": "relations", "task + DistilVPR-SC": "distilvpr-s+distilvpr-c"}
PARTS = ("forward", "backward", "optimiser")


def clock(device: torch.device) -> np.ndarray:
    """(CPU seconds of all threads, wall seconds); on a GPU wall seconds twice, after its queue has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()
        return np.full(2, time.perf_counter())
    return np.array([time.process_time(), time.perf_counter()])


class Step:
    """One training step as a call: gives (5,) CPU seconds of the step and of its PARTS, and its wall seconds."""

    def __init__(self, loss: Callable[[], Tensor], optimiser: Any, clip: float, precision: str):
        self.loss, self.optimiser, self.clip, self.half = loss, optimiser, clip, precision == "bf16"
        self.parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.device = self.parameters[0].device

    def __call__(self) -> np.ndarray:
        marks = [clock(self.device)]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss = self.loss()
        marks.append(clock(self.device))
        loss.backward()
        marks.append(clock(self.device))
        nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        self.optimiser.zero_grad()
        marks.append(clock(self.device))
        (cpu, wall), parts = marks[-1] - marks[0], np.diff(np.stack(marks)[:, 0])
        return np.array([cpu, *parts, wall])


def bare(config: TrainConfig, images: Tensor, masks: tuple[Tensor, Tensor], precision: str) -> Step:
    """timm's ViT-S/14 with fused attention; AdamW with the parameter groups of `vpr_ros train`."""
    net = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0, img_size=images.shape[-1])
    net = randomised(net).to(images.device).train()
    optimiser = make_optimiser(config.optimisation, [net])

    def loss():
        return contrastive_loss(F.normalize(net(images).float(), dim=1), *masks)

    return Step(loss, optimiser, config.optimisation.clip, precision)


def taught(config: TrainConfig, losses: str, samples: Any, images: Tensor) -> MetricLearning:
    """The training module around a student of the paper's size, a teacher's embeddings in its cache."""
    known, teacher = torch.randn(len(images), WIDTH), None
    if losses:
        config = replace(config, distillation=DistillationConfig(loss=losses, head_for="widths"))
        teacher = RunTeacher(None, known.numpy(), {})
    module = MetricLearning(randomised(D2VPR(SMALL)), samples, config, teacher).to(images.device).train()
    module.teacher_embeddings = known.to(images.device)
    return module


def compare(reference: Step, sides: dict[str, Step], rounds: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reference, side, reference, side, ...: (rounds, 6) ratio and times per side, and the reference's times (n, 5)."""
    for step in (reference, *sides.values()):
        step()
    collected: dict[str, list[np.ndarray]] = {name: [] for name in sides}
    times = [reference()]
    for _ in range(rounds):
        for name, step in sides.items():
            taken = step()
            times.append(reference())
            collected[name].append(np.r_[2 * taken[0] / (times[-2][0] + times[-1][0]), taken])
    return {name: np.array(values) for name, values in collected.items()}, np.array(times)


def alone(call: Callable[[], Tensor], device: torch.device, precision: str, *, gradients: bool = True) -> float:
    """Median milliseconds of a part of the step by itself: forward, and backward to all that has gradients."""
    taken = []
    for _ in range(6):
        started = clock(device)
        with torch.set_grad_enabled(gradients):
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                result = call()
            if gradients:
                result.float().sum().backward()
        taken.append((clock(device) - started)[0])
    return 1e3 * float(np.median(taken[1:]))


def pieces(modules: dict[str, MetricLearning], images: Tensor, precision: str) -> dict[str, float]:
    """Milliseconds of what the student adds to backbone and task, and of the teacher, each by itself."""
    device, batch, side = images.device, len(images), images.shape[-1] // SMALL.patch_size
    student: Any = modules["task alone"].student
    inner, lifted = (
        torch.randn(batch, 1 + side**2, width, device=device, requires_grad=True) for width in (SMALL.width, SMALL.dim)
    )
    unit = F.normalize(torch.randn(batch, SMALL.descriptor_dim, device=device), dim=1).requires_grad_()
    adapters = [block.adapter for block in student.backbone.blocks]
    calls: dict[str, Callable[[], Tensor]] = {
        "12 adapters": lambda: torch.stack([adapter(inner, (side, side)).sum() for adapter in adapters]),
        "recovery": lambda: student.recovery([inner] * len(SMALL.taps)),
        "aggregator": lambda: student.aggregator(lifted, (side, side)),
    }
    for name, module in modules.items():
        if (terms := module.distilling) is not None:
            known = module.teacher_embeddings
            calls[f"loss of {name}"] = lambda t=terms, k=known: t.weigh(unit, t.head(unit), k)[0]
    found = {name: alone(call, device, precision) for name, call in calls.items()}
    teacher: Any = load_teacher("minkloc++", sparse="torch").to(device)
    rng = np.random.default_rng(0)
    clouds = [torch.from_numpy(lidar_like(rng, POINTS)).to(device) for _ in range(batch)]
    pictures = torch.randn(batch, 3, *teacher.inputs.image_size, device=device)
    found["teacher's forward"] = alone(lambda: teacher(pictures, clouds), device, precision, gradients=False)
    found["its clouds"] = alone(lambda: teacher.cloud(clouds), device, precision, gradients=False)
    return found


def main() -> None:
    """Measure, print tables, write distillation_step.csv and distillation_step.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/bench_distillation_step"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=8, help="images, two of every place")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("32", "bf16"), default="32")
    args = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")  # without a trainer the module's log calls have no effect
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    settings = {"model.student": "small", "optimisation.learning_rate": 1e-5}
    config, rows = with_settings(TrainConfig(), settings), np.arange(args.batch)
    positions = np.stack([100.0 * (rows // 2), rows % 2], axis=1)
    samples: Any = SimpleNamespace(
        positions_m=positions, headings_rad=0.0 * rows, areas=np.full(len(rows), "town"), places=None
    )
    images = torch.randn(args.batch, 3, *SMALL.image_size, device=device)
    modules = {name: taught(config, losses, samples, images) for name, losses in RECIPES.items()}
    masks = modules["task alone"].masks(torch.arange(args.batch, device=device))
    reference, control = (bare(config, images, masks, args.precision) for _ in range(2))
    sides = {"control (bare ViT-S/14)": control}
    for name, module in modules.items():
        optimisers: Any = module.configure_optimizers()
        batch = {"image": images, "row": torch.arange(args.batch, device=device)}

        def loss(m=module, b=batch):
            return m.training_step(b, 0)

        sides[name] = Step(loss, optimisers["optimizer"], config.optimisation.clip, args.precision)
    measured, times = compare(reference, sides, args.rounds)
    base = np.median(times, axis=0)
    result = []
    for name, values in measured.items():
        low, middle, high = (round(float(v), 3) for v in np.percentile(values[:, 0], (25, 50, 75)))
        median = np.median(values, axis=0)
        row = {"step": name, "ratio": middle, "quartile1": low, "quartile3": high}
        row |= {f"{part}_ms": round(1e3 * float(v), 1) for part, v in zip(PARTS, median[2:5], strict=True)}
        result.append(row | {"wall_ms": round(1e3 * float(median[5]), 1)})
    added = {name: round(ms, 1) for name, ms in pieces(modules, images, args.precision).items()}
    gpu = device.type == "cuda"
    kind = torch.cuda.get_device_name() if gpu else f"{platform.machine()}, {args.threads} thread(s)"
    print(f"{kind}, batch {args.batch}, precision {args.precision}; milliseconds of {'GPU' if gpu else 'CPU'} time")
    heads = "".join(f" {head:>9}" for head in (*PARTS, "wall"))
    print(f"{'step':26} {'ratio':>6}  {'quartiles':11}{heads} images/s")
    print(f"{'bare ViT-S/14':46}" + "".join(f" {1e3 * t:9.1f}" for t in base[1:]) + f" {args.batch / base[4]:8.2f}")
    for row in result:
        shown = "".join(f" {row[key]:9.1f}" for key in (*(f"{part}_ms" for part in PARTS), "wall_ms"))
        quartiles = f"{row['quartile1']:.3f}-{row['quartile3']:.3f}"
        print(f"{row['step']:26} {row['ratio']:6.3f}  {quartiles}{shown} {1e3 * args.batch / row['wall_ms']:8.2f}")
    print("by itself, and as a share of the bare step:")
    for name, ms in added.items():
        print(f"  {name:32} {ms:9.1f} ms  {ms / 1e3 / base[0]:6.3f}")
    worst = max(row["ratio"] for row in result if row["step"] in modules)
    print(f"the most of the three: {worst:.3f} (target {TARGET}: {'met' if worst <= TARGET else 'not met'})")
    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "distillation_step.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, result[0])
        writer.writeheader()
        writer.writerows(result)
    context = {"torch": torch.__version__, "timm": timm.__version__, "device": kind, "batch": args.batch}
    context |= {"precision": args.precision, "reference_ms": (1e3 * base).round(1).tolist(), "parts_ms": added}
    (args.out / "distillation_step.json").write_text(json.dumps({"ratios": result, **context}, indent=2) + "\n")


if __name__ == "__main__":
    main()
