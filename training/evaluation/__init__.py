"""Evaluation protocols of the papers, on sample sets and trained models."""

from vpr_ros.evaluation.paired import PairedDifference, paired_difference
from vpr_ros.evaluation.run_pairs import PairRecalls, PairResult, Run, recall_over_pairs, run_pairs
from vpr_ros.evaluation.union_pairs import union_recall

from .embedding import embed
from .evaluate import ModelEvaluation, evaluate_model, fit_on_samples
from .opening import open_drives
from .pointnetvlad import evaluate_split, open_split, split_recalls
from .writing import write_evaluation

__all__ = [
    "ModelEvaluation",
    "PairRecalls",
    "PairResult",
    "PairedDifference",
    "Run",
    "embed",
    "evaluate_model",
    "evaluate_split",
    "fit_on_samples",
    "open_drives",
    "open_split",
    "paired_difference",
    "recall_over_pairs",
    "run_pairs",
    "split_recalls",
    "union_recall",
    "write_evaluation",
]
