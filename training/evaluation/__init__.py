"""Evaluation protocols of the papers, on sample sets and trained models."""

from vpr_ros.evaluation.paired import PairedDifference, paired_difference
from vpr_ros.evaluation.run_pairs import PairRecalls, PairResult, Run, recall_over_pairs, run_pairs
from vpr_ros.evaluation.union_pairs import union_recall

__all__ = [
    "PairRecalls",
    "PairResult",
    "PairedDifference",
    "Run",
    "paired_difference",
    "recall_over_pairs",
    "run_pairs",
    "union_recall",
]
