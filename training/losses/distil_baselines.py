"""Published distillation losses that serve as baselines, adapted to one embedding per sample."""

from torch import Tensor
from torch.nn import functional as F

from .relations import Terms, angle_loss, distances, huber, in_float32, relative, same_width, unit


@in_float32
def feature_mse(student: Tensor, teacher: Tensor, positives: Tensor, negatives: Tensor) -> Terms:
    """D²-VPR's stage 1 (METHODS section 1.7): mean over B·D of the squared difference of unit descriptors.

    It equals 2 (1 - cos) / D, at most 4 / D: at 10,752 entries the gradients lie about Adam's epsilon.
    """
    same_width(student, teacher, "feature-mse")
    return {"feature_mse": F.mse_loss(unit(student), unit(teacher))}


@in_float32
def rkd(student: Tensor, teacher: Tensor, positives: Tensor, negatives: Tensor) -> Terms:
    """RKD, distance and angle: Park et al., Relational Knowledge Distillation, CVPR 2019, equations 4 to 8.

    Smooth L1 between the pairs' Euclidean distances, each side in units of its own mean over pairs, and between the
    cosines of all triples' angles. Raw embeddings, any widths; published weights 1 and 2. Zero when student = teacher.
    """
    s, t = distances(student), distances(teacher)
    return {"rkd_distance": huber(relative(s), relative(t)), "rkd_angle": angle_loss(s, t)}
