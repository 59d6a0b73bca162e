"""Checkpoints of a running training, written atomically: an interrupted write leaves the former file."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vpr_ros.atomic import whole_file


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a temporary file beside the target and renames it.

    Lightning's own writer uses the system's temporary folder. A rename from there to another disk is a copy, and a
    process killed during the copy leaves an incomplete file under the final name.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        with whole_file(Path(path)) as draft, open(draft, "wb") as stream:
            torch.save(checkpoint, stream)
