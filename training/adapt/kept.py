"""The maps of a sample set's pictures in files, one per drive, so that a drive's are made once."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from vpr_ros.errors import VprError
from vpr_ros.student import Checkpoint
from vpr_ros.tensor_files import read_tensors, write_tensors
from vpr_ros.training.adapt.maps import packed
from vpr_ros.training.adapt.stages import Stage
from vpr_ros.training.data.sample import SampleSet


def kept_maps(samples: SampleSet, start: Checkpoint, folder: Path, stage: Stage) -> np.ndarray:
    """Maps (N, K) float16 of all pictures, 24 kB each with nano; those in `folder` are not made again."""
    found: np.ndarray | None = None
    done = 0
    with stage("maps", len(samples)) as progress:
        for name in np.unique(samples.drives):
            rows = np.flatnonzero(samples.drives == name)
            path = folder / f"{_key(samples, start, rows)}.safetensors"
            if not path.is_file():
                images = (image_of(samples, int(row)) for row in rows)
                made = packed(start.model, images, lambda count, before=done: progress(before + count))
                write_tensors(path, {"maps": torch.from_numpy(made)}, {"drive": str(name)})
            maps = read_tensors(path)[0]["maps"].numpy()
            if found is None:
                found = np.zeros((len(samples), maps.shape[1]), np.float16)
            found[rows] = maps
            done += len(rows)
    assert found is not None
    return found


def image_of(samples: SampleSet, row: int) -> np.ndarray:
    """The picture (h, w, 3) uint8 RGB of a frame; VprError for a frame without one."""
    image = samples.read(row, ("image",)).image
    if image is None:
        raise VprError(f"frame {row} of {samples.name} has no picture, which a student needs.")
    return image


def _key(samples: SampleSet, start: Checkpoint, rows: np.ndarray) -> str:
    named = f"{start.metadata['fingerprint']} {samples.areas[rows[0]]} {samples.drives[rows[0]]}"
    digest = hashlib.sha256(named.encode())
    digest.update(samples.stamps_ns[rows].tobytes())
    return digest.hexdigest()[:16]
