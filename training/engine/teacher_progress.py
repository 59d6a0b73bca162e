"""What a person sees of a teacher's training: a bar, a line per epoch, and the same lines in `log.csv`."""

import csv
import io
import os
import time
from pathlib import Path

from .progress import RunProgress


class TeacherProgress(RunProgress):
    """The module keeps the rows; here they are printed and written, the whole table anew after each epoch.

    So a run that was cut off and resumed leaves the same table as one that was not, but for the seconds.
    """

    def __init__(self, out: Path):
        super().__init__(validate=dict, every=1)
        self.out = out

    def on_train_batch_end(self, trainer, module, *_args) -> None:
        self.bar.update(self.task, advance=1, loss=float(trainer.callback_metrics["loss"]))

    def on_train_epoch_end(self, trainer, module) -> None:
        self.bar.stop()

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        # the module's row of the epoch is complete here, and the checkpoint not yet written
        if not module.history or module.history[-1].get("seconds"):
            return
        row = module.history[-1]
        row["seconds"] = round(time.monotonic() - self.started, 1)
        short = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        self.console.print("  ".join(f"{name} {value}" for name, value in short.items()), highlight=False)
        write_log(self.out / "log.csv", module.history)


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
