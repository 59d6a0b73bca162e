"""Evaluation protocols of the papers, on sample sets and trained models."""

from vpr_ros.evaluation.paired import PairedDifference, paired_difference
from vpr_ros.evaluation.protocols.run_pairs import PairRecalls, PairResult, Run, recall_over_pairs, run_pairs
from vpr_ros.training.evaluation.embedding import embed
from vpr_ros.training.evaluation.evaluate import ModelEvaluation, evaluate_model, fit_on_samples
from vpr_ros.training.evaluation.opening import open_drives
from vpr_ros.training.evaluation.pointnetvlad import evaluate_split, open_split, split_recalls
from vpr_ros.training.evaluation.writing import write_evaluation

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
    "write_evaluation",
]
