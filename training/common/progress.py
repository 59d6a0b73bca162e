"""A run's output: a bar for the current epoch and a line per finished epoch, which is also written to `log.csv`."""

import csv
import io
import time
from pathlib import Path

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vpr_ros.atomic import write_whole


class EpochProgress(L.Callback):
    """A bar for the current epoch where the output is a terminal; prints and writes the rows of finished epochs.

    The row of epoch 0 is of the weights before the first step, where `measure_start` gives one.
    """

    def __init__(self, out: Path):
        self.out, self.console, self.bar = out, Console(stderr=True), Progress(disable=True)

    def measure_start(self, trainer, module) -> dict:
        """The recalls of the weights before the first step, in all processes alike; empty where nothing measures
        them."""
        raise NotImplementedError

    def on_train_start(self, trainer, module) -> None:
        if module.history:
            return  # the run is resumed
        self.started = time.monotonic()
        if recalls := self.measure_start(trainer, module):
            row = {"epoch": 0, **recalls, "seconds": self.epoch_seconds()}
            module.history.append(row)
            if trainer.is_global_zero:
                self.publish(row, module.history)

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
        # Reading the loss synchronises with the GPU, so it is read only where a bar shows it.
        if not self.bar.disable:
            self.bar.update(self.task, advance=1, loss=float(trainer.callback_metrics["loss"]))

    def on_train_epoch_end(self, trainer, module) -> None:
        self.bar.stop()

    def on_exception(self, trainer, module, exception) -> None:
        self.bar.stop()

    def epoch_seconds(self) -> float:
        """Wall-clock time since the epoch, or the measure before the first one, began; to a tenth."""
        return round(time.monotonic() - self.started, 1)

    def publish(self, row: dict, history: list[dict]) -> None:
        """Print the last epoch's row and rewrite all rows: the table of a resumed run is that of an uninterrupted one,
        except for the seconds."""
        told = {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()}
        self.console.print("  ".join(f"{name} {value}" for name, value in told.items()), highlight=False)
        write_log(self.out / "log.csv", history)


def columns_of(history: list[dict]) -> list[str]:
    """Names of the columns, in the order of whole epochs: that before the first step has recalls alone."""
    rows = sorted(history, key=lambda row: row["epoch"] == 0)
    return list(dict.fromkeys(key for row in rows for key in row))


def write_log(path: Path, history: list[dict]) -> None:
    """Rows with any columns as CSV, written atomically."""
    columns = columns_of(history)
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(history)
    write_whole(path, text.getvalue(), durable=False)
