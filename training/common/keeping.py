"""Which weights of a run are kept, and when it ends early, by the recall in the rows of its history.

Everything follows from the rows, which are in every checkpoint and the same in all processes: a resumed run decides as
an uninterrupted one. The row of epoch 0 is that of the weights before the first step.
"""

from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint

from vpr_ros.training.common.run_folder import BEST


def best_row(history: list[dict], recall: str) -> dict | None:
    """The first row with the highest value in the column `recall`; None where none has been measured."""
    return max((row for row in history if recall in row), key=lambda row: row[recall], default=None)


class BestWeights(Checkpoint):
    """Writes `best.ckpt` at the start and after every epoch whose recall is above all before it.

    A `Checkpoint`, since Lightning calls those when the module has ended its epoch.
    """

    def __init__(self, out: Path, recall: str):
        self.path, self.recall = out / BEST, recall

    def on_train_start(self, trainer, module) -> None:
        if len(module.history) == 1 and module.history[0]["epoch"] == 0:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer, module) -> None:
        if best_row(module.history, self.recall) is module.history[-1]:
            trainer.save_checkpoint(self.path)


class Patience(Callback):
    """Ends a run after `epochs` epochs without a better recall; a resume of such a run ends at once."""

    def __init__(self, epochs: int, recall: str):
        self.epochs, self.recall = epochs, recall

    def on_train_start(self, trainer, module) -> None:
        best = best_row(module.history, self.recall)
        if best is not None and module.history[-1]["epoch"] - best["epoch"] >= self.epochs:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer, module) -> None:
        self.on_train_start(trainer, module)


def load_best(module: L.LightningModule, out: Path) -> None:
    """Fill the module with the weights of `best.ckpt`."""
    module.load_state_dict(torch.load(out / BEST, map_location="cpu", weights_only=True)["state_dict"])
