"""Two processes give the loss and the gradients of one that holds the whole batch."""

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from run_settings import changed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vpr_ros.training.common.distributed import gather
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.student.batches import StudentBatches
from vpr_ros.training.student.config import DistillationConfig, TrainConfig
from vpr_ros.training.student.module import MetricLearning
from vpr_ros.training.student.networks import build_student
from vpr_ros.training.student.teacher_cache import RunTeacher

CONFIG = changed(
    TrainConfig(),
    options={"adapter_width": 0, "depth": 2, "taps": (1, 2), "stem": "patch", "width": 32, "dim": 16, "heads": 2},
    distillation=DistillationConfig(loss="rkd"),
    loss="contrastive",
    places_per_batch=4,
    images_per_place=2,
    steps_per_epoch=1,
    epochs=1,
)
CONFIGS = (CONFIG, changed(CONFIG, distillation=DistillationConfig(loss="distilvpr-sc"), weight=0.5))


class Grid(SampleSet):
    """24 samples of two areas, two drives each, 10 m apart."""

    name, cloud_unit = "grid", "m"
    positions_m = np.array([[10.0 * k, float(d)] for _ in "ab" for d in range(2) for k in range(6)])
    headings_rad = np.zeros(24)
    areas = np.repeat(["a", "b"], 12)
    drives = np.repeat(["a0", "a1", "b0", "b1"], 6)
    stamps_ns = np.arange(24)

    def read(self, row, modalities):
        raise NotImplementedError("only the columns are looked at")


def module_of(config):
    torch.manual_seed(3)
    teacher = np.random.default_rng(0).normal(size=(24, 12)).astype(np.float32)
    module = MetricLearning(build_student(config), Grid(), config, RunTeacher(None, teacher, {}))
    module.teacher_embeddings = torch.from_numpy(teacher)
    module.log_dict = lambda values, **_: module.__dict__.update(shown=values)  # there is no trainer to log to
    assert not [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return module


def batch_of(config):
    """The batch of the first step: pictures follow from the rows."""
    rows = [key[0] for key in next(iter(StudentBatches(Grid(), config)))]
    pictures = torch.randn(24, 3, 28, 28, generator=torch.Generator().manual_seed(1))
    return {"image": pictures[rows], "row": torch.tensor(rows)}


class Step(nn.Module):
    """Data-parallel training looks at the forward; ours is a training step."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, batch):
        return self.module.training_step(batch, 0)


def step_of(config, processes=1):
    """What a process knows after the first step."""
    module, batch = module_of(config), batch_of(config)
    step = Step(module) if processes == 1 else DistributedDataParallel(Step(module))
    loss = step(batch)
    loss.backward()
    grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), "grads": grads, "rows": gather(batch["row"]), "shown": module.shown}


def run(rank, meeting, out):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    torch.save([step_of(config, 2) for config in CONFIGS], f"{out}/{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_are_as_one(tmp_path):
    mp.spawn(run, (tmp_path / "meeting", tmp_path), nprocs=2)
    expected = [step_of(config) for config in CONFIGS]
    for rank in range(2):
        for found, whole in zip(torch.load(tmp_path / f"{rank}.pt"), expected, strict=True):
            assert torch.equal(found["rows"], whole["rows"]) and len(whole["rows"]) == 8
            assert torch.allclose(found["loss"], whole["loss"], rtol=1e-5)
            assert torch.allclose(found["shown"]["distil"], whole["shown"]["distil"], rtol=1e-4)
            grads = whole["grads"]
            assert set(found["grads"]) == set(grads) and any(name.startswith("distilling.head") for name in grads)
            # Where the gradient is 0, as of a bias that no relation sees, rounding is all there is.
            rounding = 1e-6 * max(float(grad.abs().max()) for grad in grads.values())
            for name, grad in grads.items():
                assert torch.allclose(found["grads"][name], grad, rtol=1e-3, atol=rounding), name
