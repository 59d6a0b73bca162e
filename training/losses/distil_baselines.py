"""Published distillation losses that serve as baselines, adapted to one embedding per sample and no learned parts.

Most were written for class scores, feature maps or point clouds. "Our adaptation" below applies a paper's idea to the
two embeddings that a teacher and a student of any architecture have; its results are not comparable with the paper's.
Constants that only scale a term are chosen so that it is about 1 for an untrained student.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from vpr_ros.training.losses.relations import (
    Terms,
    angle_loss,
    cosines,
    distances,
    huber,
    in_float32,
    relative,
    same_width,
    unit,
    weighted_mean,
)

TEMPERATURE = 0.1  # of the softmax over cosines to other samples


@in_float32
def feature_mse(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """D²-VPR's stage 1 (METHODS section 1.7): mean over B·D of the squared difference of unit descriptors.

    It equals 2 (1 - cos) / D, at most 4 / D: with 10,752 entries the gradients are about Adam's epsilon of 1e-8.
    """
    same_width(student, teacher, "feature-mse")
    if weights is None:
        return {"feature_mse": F.mse_loss(unit(student), unit(teacher))}
    return {"feature_mse": weighted_mean((unit(student) - unit(teacher)).square().mean(1), weights)}


@in_float32
def kd(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """KD (Hinton et al., Distilling the Knowledge in a Neural Network, 2015): mean over samples of |s/|s| - t/|t||².

    Our adaptation: retrieval has no class scores to soften, so the student regresses the teacher's unit embedding.
    It is feature-mse summed over the width, whose gradient does not shrink with it.
    """
    same_width(student, teacher, "kd")
    return {"kd": _regression(student, teacher, weights)}


@in_float32
def epc_net(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """EPC-Net-L's distillation (Hui et al., IEEE TIP 2022): mean |s - t|² of raw embeddings over mean |t|².

    In the paper a light point-cloud network regresses the global descriptor of the full one beside its metric loss. Our
    adaptation: embeddings are not normalised, as in the triplet loss, and the division by the teacher's mean square
    makes the weight independent of its scale.
    """
    same_width(student, teacher, "epc-net")
    scale = weighted_mean(teacher.square().sum(1), weights).clamp(min=1e-12)
    return {"epc_net": weighted_mean((student - teacher).square().sum(1), weights) / scale}


@in_float32
def afd(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """AFD, attentive feature distillation (Wang et al., Pay Attention to Features, ICLR 2020): a weighted regression.

    Mean over samples of sum_d a_d (s_d - t_d)² with unit embeddings and weights a that add up to D. In the paper a
    small network learns channel weights from the teacher's pooled map. Our adaptation: a_d = |t_d| / mean |t_d|, so
    that large entries of the teacher's embedding of a sample have most weight. (The AFD of Ji et al., AAAI 2021, uses
    attention between pairs of layers, which embeddings do not have.)
    """
    same_width(student, teacher, "afd")
    s, t = unit(student), unit(teacher)
    attention = t.abs() / t.abs().mean(1, keepdim=True).clamp(min=1e-12)
    return {"afd": weighted_mean((attention * (s - t).square()).sum(1), weights)}


@in_float32
def rkd(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """RKD, distance and angle: Park et al., Relational Knowledge Distillation, CVPR 2019, equations 4 to 8.

    Smooth L1 between the pairs' Euclidean distances, each side in units of its own mean over pairs, and between the
    cosines of all triples' angles; raw embeddings, published weights 1 and 2. The paper's losses are on embeddings, so
    the only change is a bounded gradient for coinciding samples (`angle_loss`). Zero when student = teacher.
    """
    s, t = distances(student), distances(teacher)
    return {
        "rkd_distance": huber(relative(s, weights), relative(t, weights), weights),
        "rkd_angle": angle_loss(s, t, weights),
    }


@in_float32
def csd(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """CSD (Wu et al., Contextual Similarity Distillation for Asymmetric Image Retrieval, CVPR 2022).

    Mean over samples i of KL(p_i || q_i) over neighbours j: p_ij ∝ exp(cos(t_i, t_j) / τ) from the teacher alone, and
    q_ij ∝ exp(cos(s_i, t_j) / τ) with the student as the query in the teacher's gallery. Our adaptation: the
    neighbours are all other samples of the batch instead of a query's nearest in a fixed gallery, and τ is 0.1 on
    both sides.
    """
    same_width(student, teacher, "csd")
    return {"csd": _neighbour_divergence(cosines(student, teacher), cosines(teacher), weights)}


@in_float32
def lsd_net(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """LSD-Net's dual distillation (Peng et al., IROS 2022): encoding pattern and feature distribution.

    In the paper the student learns the teacher's encoding in the hidden space, and the distribution of its features in
    the encoding space. Our adaptation, both on the embedding: the pattern is |s - t|² of unit embeddings, and the
    distribution is KL(p || q) over entries with p = softmax(sqrt(D) t), q = softmax(sqrt(D) s), unit t and s; means
    over samples.
    """
    same_width(student, teacher, "lsd-net")
    gain = teacher.shape[1] ** 0.5  # entries of unit embeddings come to about 1
    p, q = F.log_softmax(gain * unit(teacher), dim=1), F.log_softmax(gain * unit(student), dim=1)
    return {
        "lsd_pattern": _regression(student, teacher, weights),
        "lsd_distribution": _divergence(p, q, weights),
    }


@in_float32
def mkd(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """MKD, read as multi-level distillation (Ding et al., Knowledge Alignment and Correlation): two levels.

    Alignment of each sample: |s - t|² of unit embeddings. Correlation of the samples: mean over i of KL(p_i || q_i)
    over the other samples j, p_ij ∝ exp(cos(t_i, t_j) / τ), q_ij ∝ exp(cos(s_i, s_j) / τ). Our adaptation in two ways:
    METHODS gives the table's name without its source, and the paper chosen here aligns self-supervised features; batch
    neighbours and τ = 0.1 replace them.
    """
    same_width(student, teacher, "mkd")
    correlation = _neighbour_divergence(cosines(student), cosines(teacher), weights)
    return {"mkd_alignment": _regression(student, teacher, weights), "mkd_correlation": correlation}


@in_float32
def relations(student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> Terms:
    """Our loss on relations alone, for any widths and scales, so that a student needs no projection head.

    Distances in units of their mean and angles as in RKD, and neighbourhoods: KL of the softmax over the other samples
    of minus the squared relative distance. The terms do not depend on scale and position of either side's embeddings,
    so unit descriptors can minimise them. Zero when student = teacher.
    """
    s, t = distances(student), distances(teacher)
    relative_s, relative_t = relative(s, weights), relative(t, weights)
    return {
        "relation_distance": huber(relative_s, relative_t, weights),
        "relation_angle": angle_loss(s, t, weights),
        "relation_neighbours": _neighbour_divergence(-relative_s.square(), -relative_t.square(), weights),
    }


def _regression(student: Tensor, teacher: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over samples of the squared distance of unit embeddings: 2 (1 - cos)."""
    return weighted_mean((unit(student) - unit(teacher)).square().sum(1), weights)


def _neighbour_divergence(student: Tensor, teacher: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over rows of KL(softmax(teacher / τ) || softmax(student / τ)), similarities (N, N) without diagonal.

    Weights multiply the probabilities of the neighbours on both sides.
    """
    n = len(teacher)
    if n == 1:
        return student.sum() * 0.0
    others = ~torch.eye(n, dtype=torch.bool, device=teacher.device)
    s, t = (x[others].view(n, n - 1) / TEMPERATURE for x in (student, teacher))
    if weights is not None:
        rarity = weights.log().expand(n, n)[others].view(n, n - 1)
        s, t = s + rarity, t + rarity
    return _divergence(F.log_softmax(t, dim=1), F.log_softmax(s, dim=1), weights)


def _divergence(teacher: Tensor, student: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over rows of KL(teacher || student) of logarithms of probabilities (N, K)."""
    if weights is None:
        return F.kl_div(student, teacher, log_target=True, reduction="batchmean")
    return weighted_mean(F.kl_div(student, teacher, log_target=True, reduction="none").sum(1), weights)
