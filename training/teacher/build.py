"""A fresh teacher, as a run starts it."""

import lightning as L
from torch import nn

from vpr_ros.training.teacher.branches import AdaFusionBranch
from vpr_ros.training.teacher.config import TeacherConfig
from vpr_ros.training.teachers import Teacher, load_teacher


def build_teacher(config: TeacherConfig) -> Teacher:
    """A fresh teacher, its weights fixed by the seed; with `branch`, only that branch of it."""
    L.seed_everything(config.optimisation.seed, verbose=False)
    model = config.model
    teacher = load_teacher(model.teacher, sparse=model.sparse, **model.options)
    if model.init == "he":
        initialise_he(teacher)
    return AdaFusionBranch(teacher, model.branch) if model.branch else teacher


def initialise_he(teacher: nn.Module) -> None:
    """Dense convolutions start with He's variance (fan-in, ReLU) and no bias.

    AdaFusion has no normalisation before its last stage. With PyTorch's own start the difference between two samples
    shrinks a million-fold on the way there, below that layer's epsilon, and training stands still.
    """
    for module in teacher.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
