"""What a person sees of a teacher's training: a bar, a line per epoch, and the same lines in `log.csv`."""

import time

from vpr_ros.training.common.progress import EpochBar, write_log


class TeacherProgress(EpochBar):
    """The module keeps the rows; here they are printed and written, the whole table anew after each epoch.

    So a run that was cut off and resumed leaves the same table as one that was not, but for the seconds.
    """

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        # the module's row of the epoch is complete here, and the checkpoint not yet written
        if not module.history or module.history[-1].get("seconds"):
            return
        row = module.history[-1]
        row["seconds"] = round(time.monotonic() - self.started, 1)
        short = {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()}
        self.console.print("  ".join(f"{name} {value}" for name, value in short.items()), highlight=False)
        write_log(self.out / "log.csv", module.history)
