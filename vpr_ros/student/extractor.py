"""Camera images to descriptors: owns resizing, colour order, normalisation, device, precision and batching."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from vpr_ros.configuration import Precision
from vpr_ros.errors import VprError
from vpr_ros.student.checkpoints import fingerprint_of, read_checkpoint
from vpr_ros.student.d2vpr import D2VPR
from vpr_ros.student.inference import inference_form
from vpr_ros.student.parts import AnyProjection, lengths_of
from vpr_ros.student.preprocessing import preprocessing_of, resize

DTYPES: dict[Precision, torch.dtype | None] = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


class DescriptorExtractor:
    """A student, frozen, with its projection, on one device.

    `device` auto takes CUDA where there is one; `precision` auto is fp16 on CUDA and fp32 on a CPU. A student with
    the cross-image encoder is refused unless `allow_batch_dependence`: its descriptor of an image depends on the
    other images of the batch. `parts` are the lengths of the descriptor's parts, of the regions and of a global vector
    where there is one; a descriptor of one part has `(dim,)`. Raises VprError for an unknown device or precision and
    for a projection that does not fit.
    """

    def __init__(
        self,
        model: D2VPR,
        projection: AnyProjection | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        batch_size: int = 8,
        calibration: dict[str, Any] | None = None,
        name: str = "",
        allow_batch_dependence: bool = False,
    ) -> None:
        if model.config.encoder and not allow_batch_dependence:
            raise VprError(
                "this checkpoint has the cross-image encoder: its descriptors depend on the other images of its batch, "
                "so use one without it, or allow batch dependence explicitly to reproduce published figures."
            )
        self.parts = lengths_of(model.config, projection)
        if batch_size < 1:
            raise VprError(f"batch_size is {batch_size}: it must be at least 1.")
        self.device = choose_device(device)
        if precision not in get_args(Precision):
            raise VprError(f"precision is '{precision}': choose one of {', '.join(get_args(Precision))}.")
        self.precision: Precision = (
            precision if precision != "auto" else ("fp16" if self.device.type == "cuda" else "fp32")
        )
        self.batch_size, self.calibration = batch_size, calibration
        self.name = name or model.config.name
        self.fingerprint = fingerprint_of(model, projection)
        self.model = model.to(self.device).eval()
        self.projection = projection
        self.dim = sum(self.parts)
        self.network = inference_form(self.model, projection, DTYPES[self.precision] or torch.float32)

    @classmethod
    def from_checkpoint(
        cls,
        path_or_name: str | Path,
        device: str = "auto",
        precision: Precision = "auto",
        batch_size: int = 8,
        allow_batch_dependence: bool = False,
    ) -> DescriptorExtractor:
        """From a file, or a shipped checkpoint's name; VprError also for a bare backbone, as yet untrained."""
        checkpoint = read_checkpoint(path_or_name)
        if checkpoint.is_initialisation:
            raise VprError(
                f"{path_or_name} is an initialisation (a bare backbone), not a trained student: train from it first."
            )
        return cls(
            checkpoint.model,
            checkpoint.projection,
            device,
            precision,
            batch_size,
            checkpoint.calibration_json,
            Path(path_or_name).stem,
            allow_batch_dependence,
        )

    @property
    def input_size(self) -> tuple[int, int]:
        """(H, W) of the network input."""
        return self.model.config.image_size

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What happens to an image before the network, in plain values."""
        return preprocessing_of(self.model.config)

    def prepare(self, image: np.ndarray) -> np.ndarray:
        """(h, w, 3) uint8 RGB of any size -> (H, W, 3) uint8 at the input size, with the same descriptor.

        FrameError unless the image is an (h, w, 3) array of uint8 with sides of 16 pixels or more.
        """
        return resize(image, self.input_size)

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """N images (h, w, 3) uint8 RGB of any sizes -> (N, dim) float16 unit rows.

        FrameError for an image of another kind; VprError when the network gives numbers that are not finite.
        """
        return self.describe_raw(images).astype(np.float16)

    def describe_raw(self, images: Sequence[np.ndarray], project: bool = True) -> np.ndarray:
        """As `describe`, in float32; `project=False` gives the network's own, to fit a projection on."""
        project = project and self.projection is not None
        rows = [
            self._batch([self.prepare(image) for image in images[at : at + self.batch_size]], project)
            for at in range(0, len(images), self.batch_size)
        ]
        length = self.dim if project else self.model.config.descriptor_dim
        return np.concatenate(rows) if rows else np.zeros((0, length), np.float32)

    def _batch(self, images: list[np.ndarray], project: bool) -> np.ndarray:
        dtype = DTYPES[self.precision]
        cast = torch.autocast(self.device.type, dtype) if dtype is not None else contextlib.nullcontext()
        with torch.inference_mode():
            pixels = torch.as_tensor(np.stack(images)).to(self.device)
            with cast:
                rows = self.network.raw(pixels).float()
            # the projection in full precision: its sums run over thousands of numbers
            descriptors = (self.network.projection(rows) if project else rows).cpu().numpy()
        if not np.isfinite(descriptors).all():
            raise VprError(
                f"the {self.name} student gave numbers that are not finite at precision {self.precision}: try fp32."
            )
        return descriptors


def choose_device(device: str) -> torch.device:
    """The device of a word: auto is CUDA where there is one; VprError for one that is not here."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise VprError(f"'{device}' is not a device: use auto, cpu or cuda.") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise VprError("device 'cuda' was asked for, but PyTorch sees no CUDA device: use auto or cpu.")
    return chosen
