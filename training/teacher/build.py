"""The teacher that a run trains, with its initial weights."""

import lightning as L
from torch import nn

from vpr_ros.training.teacher.branches import AdaFusionBranch
from vpr_ros.training.teacher.config import TeacherConfig
from vpr_ros.training.teachers import Teacher, load_teacher


def build_teacher(config: TeacherConfig) -> Teacher:
    """A teacher with initial weights that the seed determines; with `branch`, only that branch of it."""
    L.seed_everything(config.optimisation.seed, verbose=False)
    model = config.model
    teacher = load_teacher(model.teacher, sparse=model.sparse, **model.options)
    if model.init == "he":
        initialise_he(teacher)
    return AdaFusionBranch(teacher, model.branch) if model.branch else teacher


def initialise_he(teacher: nn.Module) -> None:
    """Initialise dense convolutions with He's variance (fan-in, ReLU) and zero bias.

    AdaFusion has no normalisation before its last stage. With PyTorch's initialisation the difference between two
    samples shrinks by a factor of a million before that stage, below its normalisation's epsilon, and the loss does
    not decrease.
    """
    for module in teacher.modules():
        if isinstance(module, (nn.Conv2d, nn.Conv3d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
