"""Checkpoints of a running training, written whole: an interrupted write leaves the former one."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vpr_ros.atomic import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes beside the target and renames.

    Lightning's own writer collects in the system's temporary folder; from there to another disk a rename becomes a
    copy, and a kill within it leaves half a file under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with whole_file(Path(path)) as draft, open(draft, "wb") as stream:
            torch.save(checkpoint, stream)
