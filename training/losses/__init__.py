"""Losses on batches of descriptors, with places as masks of positive and negative pairs."""

from vpr_ros.training.losses.contrastive import contrastive_loss
from vpr_ros.training.losses.distillation import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS, Distillation
from vpr_ros.training.losses.distilvpr import cross_terms, self_terms
from vpr_ros.training.losses.multi_similarity import multi_similarity_loss

LOSSES = {"multi_similarity": multi_similarity_loss, "contrastive": contrastive_loss}

__all__ = [
    "DISTILLATION",
    "DISTILLATION_WEIGHTS",
    "LOSSES",
    "NEEDS_EQUAL_WIDTHS",
    "Distillation",
    "contrastive_loss",
    "cross_terms",
    "multi_similarity_loss",
    "self_terms",
]
