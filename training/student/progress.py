"""Progress of a student's run: means per epoch of the logged values, and the validation recalls."""

from collections.abc import Callable
from pathlib import Path

import torch

from vpr_ros.training.common.progress import EpochProgress

RECALL = "validation_recall"  # the metric of patience and `keep: best`


class StudentProgress(EpochProgress):
    """Means per epoch of the values that steps log, with the learning rate and the validation recalls.

    The rows are stored in the module and in its checkpoint.
    """

    def __init__(self, validate: Callable[[], dict], every: int, out: Path):
        super().__init__(out)
        self.validate, self.every = validate, every
        self.recall: float | None = None  # the latest one

    def on_train_epoch_start(self, trainer, module) -> None:
        super().on_train_epoch_start(trainer, module)
        self.sums: dict = {}
        self.steps = 0

    def on_train_batch_end(self, trainer, module, *_args) -> None:
        super().on_train_batch_end(trainer, module)
        for name, value in trainer.callback_metrics.items():
            if name != RECALL:
                self.sums[name] = self.sums.get(name, 0) + value.float()
        self.steps += 1

    def on_train_epoch_end(self, trainer, module) -> None:
        super().on_train_epoch_end(trainer, module)
        epoch = trainer.current_epoch + 1
        due = epoch % self.every == 0 or epoch == trainer.max_epochs
        # One process validates and sends the result to the others: batch statistics differ between them, and all must
        # stop together.
        recalls = trainer.strategy.broadcast(self.validate() if due and trainer.is_global_zero else {})
        row = {"epoch": epoch, **{name: float(total) / max(1, self.steps) for name, total in self.sums.items()}}
        row |= {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"], **recalls}
        row = {name: float(f"{value:.5g}") for name, value in row.items()} | {"epoch": epoch}
        row["seconds"] = self.epoch_seconds()
        if "all" in recalls:
            self.recall = float(recalls["all"])
        if self.recall is not None:
            # Logged at every epoch, so that patience counts epochs, also after a resume.
            module.log(RECALL, torch.tensor(self.recall), on_step=False, on_epoch=True)
        module.history.append(row)
        if trainer.is_global_zero:
            self.publish(row, module.history)

    def state_dict(self) -> dict:
        return {"recall": self.recall}

    def load_state_dict(self, state_dict: dict) -> None:
        self.recall = state_dict["recall"]
