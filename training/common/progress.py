"""What a person sees of a run: a bar and a line per epoch, the same lines as `log.csv`, and their curves."""

import csv
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

RECALL = "validation_recall"  # what patience and `keep: best` look at


class EpochBar(L.Callback):
    """A bar for the running epoch, where a terminal looks on."""

    def __init__(self, out: Path):
        self.out, self.console, self.bar = out, Console(stderr=True), Progress(disable=True)

    def on_train_epoch_start(self, trainer, module) -> None:
        self.started = time.monotonic()
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not (self.console.is_terminal and trainer.is_global_zero),
        )
        self.task = self.bar.add_task("", total=trainer.num_training_batches, epoch=trainer.current_epoch + 1, loss=0.0)
        self.bar.start()

    def on_train_batch_end(self, trainer, module, *_args) -> None:
        # Reading the loss makes a GPU wait, so nobody reads it where no bar shows it.
        if not self.bar.disable:
            self.bar.update(self.task, advance=1, loss=float(trainer.callback_metrics["loss"]))

    def on_train_epoch_end(self, trainer, module) -> None:
        self.bar.stop()

    def on_exception(self, trainer, module, exception) -> None:
        self.bar.stop()


class RunProgress(EpochBar):
    """Means of what a step logs, per epoch, with the learning rate and the validation recalls.

    The rows live in the module and go with its checkpoint, so a resumed run writes the table of an uninterrupted one,
    but for the seconds.
    """

    def __init__(self, validate: Callable[[], dict], every: int, out: Path):
        super().__init__(out)
        self.validate, self.every = validate, every
        self.recall: float | None = None  # the last one known

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
        # One process looks and tells the others: batch statistics differ between them, and all must stop together.
        recalls = trainer.strategy.broadcast(self.validate() if due and trainer.is_global_zero else {})
        row = {"epoch": epoch, **{name: float(total) / max(1, self.steps) for name, total in self.sums.items()}}
        row |= {"learning_rate": trainer.optimizers[0].param_groups[0]["lr"], **recalls}
        row = {name: float(f"{value:.5g}") for name, value in row.items()} | {"epoch": epoch}
        row["seconds"] = round(time.monotonic() - self.started, 1)
        if "all" in recalls:
            self.recall = float(recalls["all"])
        if self.recall is not None:
            # At every epoch, so that patience counts epochs, after a resume too.
            module.log(RECALL, torch.tensor(self.recall), on_step=False, on_epoch=True)
        module.history.append(row)
        if trainer.is_global_zero:
            self.console.print("  ".join(f"{name} {value}" for name, value in row.items()), highlight=False)
            write_log(self.out / "log.csv", module.history)

    def state_dict(self) -> dict:
        return {"recall": self.recall}

    def load_state_dict(self, state_dict: dict) -> None:
        self.recall = state_dict["recall"]


def write_log(path: Path, history: list[dict]) -> None:
    """Rows with any columns as CSV, written whole or not at all."""
    columns = list(dict.fromkeys(key for row in history for key in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(history)
    partial = path.with_suffix(".tmp")
    partial.write_text(text.getvalue())
    os.replace(partial, path)
