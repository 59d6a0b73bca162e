"""Progress of a student's run: means per epoch of the logged values, and the validation recalls."""

from collections.abc import Callable
from pathlib import Path

import torch

from vpr_ros.training.common.progress import EpochProgress
from vpr_ros.training.student.validation.start import Start

RECALL = "validation_recall"  # among the values of the loggers
RECALLED = "all"  # its column, which patience and `keep: best` look at


class StudentProgress(EpochProgress):
    """Means per epoch of the values that steps log, with the learning rate and the validation recalls.

    The rows are stored in the module and in its checkpoint. `begin` measures the start and gives it with its row, or
    None without a validation set; `validate` gives the recalls of an epoch.
    """

    def __init__(
        self, begin: Callable[[], tuple[Start, dict] | None], validate: Callable[[], dict], every: int, out: Path
    ):
        super().__init__(out)
        self.begin, self.validate, self.every = begin, validate, every

    def measure_start(self, trainer, module) -> dict:
        # One process measures and sends the result to the others, as after the epochs.
        found = trainer.strategy.broadcast(self.begin() if trainer.is_global_zero else None)
        if found is None:
            return {}
        module.start, row = found
        for logger in trainer.loggers:
            logger.log_metrics({RECALL: row[RECALLED]}, step=0)
        return _rounded(row)

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
        row = _rounded(row) | {"epoch": epoch, "seconds": self.epoch_seconds()}
        if RECALLED in recalls:
            module.log(RECALL, torch.tensor(recalls[RECALLED]), on_step=False, on_epoch=True)
        module.history.append(row)
        if trainer.is_global_zero:
            self.publish(row, module.history)


def _rounded(row: dict) -> dict:
    return {name: float(f"{value:.5g}") for name, value in row.items()}
