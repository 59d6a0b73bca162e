"""Progress of a teacher's run: prints and writes the rows of its module."""

from vpr_ros.training.common.progress import EpochProgress


class TeacherProgress(EpochProgress):
    """Prints and writes the module's row of an epoch before the checkpoint that holds it is written."""

    def measure_start(self, trainer, module) -> dict:
        return module.validate()

    def on_save_checkpoint(self, trainer, module, checkpoint) -> None:
        # The module's row of the epoch is complete here, and the checkpoint not yet written.
        if not module.history or "seconds" in module.history[-1]:
            return
        row = module.history[-1]
        row["seconds"] = self.epoch_seconds()
        self.publish(row, module.history)
