"""What a person sees of a run: a progress bar, and after each epoch one line with the validation recall."""

import csv
import time
from collections.abc import Callable
from pathlib import Path

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunProgress(L.Callback):
    """A bar per epoch and a line per epoch; the lines also go to `validation.csv` beside the checkpoints."""

    def __init__(self, validate: Callable[[], dict], every: int):
        self.validate, self.every, self.console = validate, every, Console(stderr=True)
        self.bar = Progress(disable=True)

    def on_train_epoch_start(self, trainer, module) -> None:
        self.started, self.losses, self.hits = time.monotonic(), [], []
        self.bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.3f}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=trainer.num_training_batches, epoch=trainer.current_epoch + 1, loss=0.0)
        self.bar.start()

    def on_train_batch_end(self, trainer, module, *_args) -> None:
        self.losses.append(float(trainer.callback_metrics["loss"]))
        self.hits.append(float(trainer.callback_metrics["batch_recall"]))
        self.bar.update(self.task, advance=1, loss=self.losses[-1])

    def on_train_epoch_end(self, trainer, module) -> None:
        self.bar.stop()
        epoch = trainer.current_epoch + 1
        recalls = self.validate() if epoch % self.every == 0 or epoch == trainer.max_epochs else {}
        mean = lambda values: sum(values) / max(1, len(values))  # noqa: E731
        row = {
            "epoch": epoch,
            "loss": round(mean(self.losses), 4),
            "batch_recall": round(mean(self.hits), 4),
            "seconds": round(time.monotonic() - self.started, 1),
            **{name: round(value, 4) for name, value in recalls.items()},
        }
        self.console.print("  ".join(f"{name} {value}" for name, value in row.items()), highlight=False)
        if not recalls:
            return
        path = Path(trainer.default_root_dir if trainer.logger is None else trainer.logger.save_dir) / "validation.csv"
        fresh = not path.exists()
        with path.open("a", newline="") as stream:
            writer = csv.DictWriter(stream, row)
            if fresh:
                writer.writeheader()
            writer.writerow(row)

    def on_exception(self, trainer, module, exception) -> None:
        self.bar.stop()
