"""Training frames on disk, the places they show, and the batches drawn from them.

What needs torch is imported lazily: a robot that records does without it.
"""

from importlib import import_module

from .augment import AugmentConfig, augment

_HOME = {
    "PlaceBatchSampler": "sampler", "FrameTable": "training_set", "TrainingFrames": "frames",
    "read_frame_table": "training_set", "TrainingSetWriter": "writer",
}
__all__ = ["AugmentConfig", "augment", *sorted(_HOME)]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
