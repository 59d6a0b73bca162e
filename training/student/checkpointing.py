"""What a run keeps: its last whole epoch, the best one by validation, and when it ends early."""

from pathlib import Path

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

from vpr_ros.errors import VprError
from vpr_ros.training.common.progress import RECALL
from vpr_ros.training.data.sample import SampleSet
from vpr_ros.training.evaluation.retrieval import recall_by_condition
from vpr_ros.training.student.config import TrainConfig


class Patience(EarlyStopping):
    """Ends a run after so many epochs without a better validation recall; a run that ended so stays ended."""

    def __init__(self, epochs: int):
        super().__init__(RECALL, patience=epochs, mode="max", check_on_train_epoch_end=True, strict=False)

    def on_train_start(self, trainer, pl_module) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def keepers(config: TrainConfig, out: Path) -> list[Callback]:
    """Lightning's callbacks, in their order: `last.ckpt` comes last, so that it holds what the others have counted."""
    kept: list[Callback] = [] if not config.patience else [Patience(config.patience)]
    whole = {"save_top_k": 1, "enable_version_counter": False, "save_on_train_epoch_end": True}
    if config.keep == "best":
        kept.append(ModelCheckpoint(out, filename="best", monitor=RECALL, mode="max", **whole))
    return [*kept, ModelCheckpoint(out, filename="last", **whole)]


def check_judged(config: TrainConfig, validation: SampleSet | None) -> None:
    """VprError where the run is to be judged by a validation recall that there is none of."""
    if not config.patience and config.keep != "best":
        return
    if validation is None:
        raise VprError("patience and `keep: best` look at the validation recall: name a validation folder")
    # Which queries have a true match does not depend on the descriptors.
    if "all" not in recall_by_condition(np.zeros((len(validation), 1), np.float32), validation):
        raise VprError(
            f"patience and `keep: best` look at the validation recall, and {validation.name} has no query: it needs "
            "two drives through the same places"
        )


def load_best(module: L.LightningModule, out: Path) -> int:
    """Fill the module with the weights of `best.ckpt`; returns their epoch, counted from 1."""
    found = torch.load(out / "best.ckpt", map_location="cpu", weights_only=True)
    module.load_state_dict(found["state_dict"])
    return int(found["epoch"]) + 1
