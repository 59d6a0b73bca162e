"""Evaluation protocols of the papers, on sample sets and trained models."""

from vpr_ros.evaluation.run_pairs import PairRecalls, PairResult, Run, recall_over_pairs, run_pairs

__all__ = ["PairRecalls", "PairResult", "Run", "recall_over_pairs", "run_pairs"]
