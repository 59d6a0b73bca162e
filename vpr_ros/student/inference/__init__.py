"""The inference form of a student: the same function with everything folded that a robot never changes."""

from vpr_ros.student.inference.network import InferenceNetwork, inference_form

__all__ = ["InferenceNetwork", "inference_form"]
