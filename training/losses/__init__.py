"""Losses on batches of descriptors; places enter as masks of positive and negative pairs."""

from .contrastive import contrastive_loss
from .distillation import DISTILLATION, DISTILLATION_WEIGHTS, NEEDS_EQUAL_WIDTHS, Distillation
from .distilvpr import cross_terms, distilvpr_terms, self_terms
from .multi_similarity import multi_similarity_loss
from .pairs import place_pairs

LOSSES = {"multi_similarity": multi_similarity_loss, "contrastive": contrastive_loss}

__all__ = [
    "DISTILLATION",
    "DISTILLATION_WEIGHTS",
    "LOSSES",
    "NEEDS_EQUAL_WIDTHS",
    "Distillation",
    "contrastive_loss",
    "cross_terms",
    "distilvpr_terms",
    "multi_similarity_loss",
    "place_pairs",
    "self_terms",
]
