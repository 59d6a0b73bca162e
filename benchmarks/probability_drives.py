"""Drives for the benchmark of probabilities: kept on disk, described once, and put through the product's live core."""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr_ros import pictures
from vpr_ros.atomic import whole_file
from vpr_ros.configuration import DecisionConfig, GateConfig, RecognitionConfig
from vpr_ros.errors import FrameError, VprError
from vpr_ros.evaluation.matches import MatchRecord
from vpr_ros.geometry import planar_transform
from vpr_ros.observation import Observation
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import DriveFacts
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PLACE_RADIUS_M, PipelineConfig, Verify
from vpr_ros.sensors.cameras import Camera
from vpr_ros.sensors.picture_files import list_pictures
from vpr_ros.student import DescriptorExtractor
from vpr_ros.training.synthetic.bags import camera_of
from vpr_ros.training.synthetic.drive import OFFMAP_SHIFT_M, Drive

RATE_HZ = 5.0  # of pictures without stamps
POSES = "poses.npz"
WANTED = 0.99  # precision


@dataclass(frozen=True)
class StoredDrive:
    """Pictures in order with stamps (N,) int64, and poses (N, 4, 4) and cameras with T_base_camera where known."""

    images: tuple[Path, ...]
    stamps_ns: np.ndarray
    T_true: np.ndarray | None = None
    T_odom: np.ndarray | None = None
    scale: float = 1.0  # lengths against those in a street
    cameras: tuple[tuple[Camera, np.ndarray] | None, ...] = ()  # of each picture

    def __len__(self) -> int:
        return len(self.images)

    @property
    def hours(self) -> float:
        """Time that a robot needs for it."""
        return float(self.stamps_ns[-1] - self.stamps_ns[0]) / 3.6e12

    def elsewhere(self) -> "StoredDrive":
        """The same drive where no pose of a map can match."""
        assert self.T_true is not None
        moved = self.T_true.copy()
        moved[:, 0, 3] += OFFMAP_SHIFT_M
        return replace(self, T_true=moved)


def keep(folder: Path, drive: Drive, scale: float) -> StoredDrive:
    """The drive of a folder, rendered into it where it is not there yet."""
    if not (folder / POSES).exists():
        folder.mkdir(parents=True, exist_ok=True)
        for frame in drive.frames():
            data = pictures.encode(frame.image, quality=drive.camera.jpeg_quality)
            (folder / f"{frame.index:06d}.jpg").write_bytes(data)
        with whole_file(folder / POSES) as draft, draft.open("wb") as stream:
            np.savez(stream, stamps_ns=drive.stamps_ns, T_true=drive.T_map_base, T_odom=drive.T_odom_base)
    with np.load(folder / POSES) as stored:
        poses = stored["T_true"], stored["T_odom"]
        camera = camera_of(drive.camera), drive.T_base_cameralink @ drive.T_cameralink_optical
        images = tuple(sorted(folder.glob("*.jpg")))
        return StoredDrive(images, stored["stamps_ns"], *poses, scale, (camera,) * len(images))


def folder_drive(folders: Sequence[Path], names: Sequence[str] | None = None) -> StoredDrive:
    """Pictures without poses, one after the other: all of the folders in the order of their names, or those named."""
    images = [
        path for folder in folders for path in (list_pictures(folder) if names is None else map(folder.joinpath, names))
    ]
    stamps = (np.arange(len(images)) * 1e9 / RATE_HZ).astype(np.int64) + 10**9
    return StoredDrive(tuple(images), stamps, cameras=(None,) * len(images))


def joined(drives: Sequence[StoredDrive]) -> StoredDrive:
    """Drives one after the other as one robot drives them, its clock and odometry running on.

    Between two drives lies as far as a place reaches, without pictures.
    """
    first = drives[0]
    stamps, odometry = [first.stamps_ns], [first.T_odom]
    for drive in drives[1:]:
        step_ns = int(np.median(np.diff(drive.stamps_ns)))
        gap_m = PLACE_RADIUS_M * drive.scale
        step_m = 1.0
        if drive.T_odom is not None:
            step_m = float(np.median(np.linalg.norm(np.diff(drive.T_odom[:, :3, 3], axis=0), axis=1)))
        gap_ns = int(step_ns * gap_m / max(step_m, 1e-3))
        stamps.append(drive.stamps_ns - drive.stamps_ns[0] + stamps[-1][-1] + gap_ns)
        if drive.T_odom is None or odometry[-1] is None:
            odometry.append(None)
        else:
            T = odometry[-1][-1] @ planar_transform(gap_m, 0.0, 0.0) @ np.linalg.inv(drive.T_odom[0])
            odometry.append(T @ drive.T_odom)
    known = all(T is not None for T in odometry)
    true = [drive.T_true for drive in drives]
    return StoredDrive(
        tuple(path for drive in drives for path in drive.images),
        np.concatenate(stamps),
        np.concatenate(true) if all(T is not None for T in true) else None,  # type: ignore[arg-type]
        np.concatenate(odometry) if known else None,  # type: ignore[arg-type]
        first.scale,
        tuple(camera for drive in drives for camera in drive.cameras),
    )


class RememberingExtractor:
    """A network that describes no picture twice, not even in another process: descriptors are kept by fingerprint."""

    def __init__(self, checkpoint: str, folder: Path, local_features: str = "auto", verify: Verify = "none"):
        self.local_features = local_features  # that queries are compared by
        self.verify: Verify = verify
        self._network = DescriptorExtractor.from_checkpoint(checkpoint)
        self._path = folder / f"{self._network.fingerprint[:16]}.npz"
        self._known: dict[bytes, np.ndarray] = {}
        self._saved = 0
        if self._path.exists():
            with np.load(self._path) as stored:
                self._known = dict(zip((key.tobytes() for key in stored["keys"]), stored["descriptors"], strict=True))
            self._saved = len(self._known)

    def __getattr__(self, name: str):
        return getattr(self._network, name)

    def describe(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Descriptors (N, dim) of images (H, W, 3) uint8 RGB."""
        keys = [
            hashlib.blake2b(f"{image.shape}".encode() + image.tobytes(), digest_size=16).digest() for image in images
        ]
        for key, image in zip(keys, images, strict=True):
            if key not in self._known:
                self._known[key] = np.asarray(self._network.describe([image])[0])
        return np.array([self._known[key] for key in keys])

    def save(self) -> None:
        if len(self._known) > self._saved:
            keys = np.array([np.frombuffer(key, np.uint8) for key in self._known])
            with whole_file(self._path) as draft, draft.open("wb") as stream:
                np.savez(stream, keys=keys, descriptors=np.array(list(self._known.values())))
            self._saved = len(self._known)


def observations(drive: StoredDrive, with_odometry: bool) -> Iterator[Observation]:
    """What the robot hands to the product, which never sees a true pose."""
    for i, path in enumerate(drive.images):
        image = pictures.read(path)
        if image is None:
            raise SystemExit(f"{path} is no picture")
        T_odom = drive.T_odom[i] if with_odometry and drive.T_odom is not None else None
        camera, T_base_camera = drive.cameras[i] or (None, None)
        yield Observation(int(drive.stamps_ns[i]), image, T_odom, camera=camera, T_base_camera=T_base_camera)


def make_map(path: Path, drive: StoredDrive, extractor) -> None:
    """Map a drive, anew: with its odometry, as the demo does, else every picture."""
    path.unlink(missing_ok=True)
    posed = drive.T_odom is not None
    config = PipelineConfig(
        path,
        "map",
        gate=GateConfig(distance_m=2.0 * drive.scale) if posed else GateConfig(every_n=1),
        recognition=RecognitionConfig(place_radius=PLACE_RADIUS_M * drive.scale if posed else None),
    )
    with Pipeline.open(config, Health(), extractor, DriveFacts(None, posed)) as pipeline:
        for observation in observations(drive, True):
            pipeline.process(observation)
        pipeline.save()


@dataclass(frozen=True)
class Answers:
    """What a map answers to a drive, accepted from every probability on, and the probabilities that count.

    A frame of `records` is accepted if nothing but its probability stands against it: `usual` and `wanted` say from
    which probability on it is in use. `confirmed` (Q,): 1 where a camera's verification agreed with what is in use,
    else 0; NaN where none was asked.
    """

    records: list[MatchRecord]
    usual: float  # by the defaults
    wanted: float  # where the precision WANTED is asked for; NaN where the calibration knows none
    confirmed: np.ndarray


def ask(path: Path, drive: StoredDrive, extractor, with_odometry: bool) -> Answers:
    """Localise a drive; every frame must be answered. `extractor` says by which local features, too."""
    records, confirmed = [], []
    recognition = RecognitionConfig(decision=DecisionConfig(accept_probability=0.0))
    config = PipelineConfig(
        path,
        recognition=recognition,
        local_features=extractor.local_features,
        local_budget_s=0.0,
        verify=extractor.verify,
    )
    with Pipeline.open(config, Health(), extractor) as pipeline:
        assert pipeline.recogniser is not None
        calibration = pipeline.recogniser.weighing
        usual = calibration.accept_probability(DecisionConfig(), with_odometry)
        for observation in observations(drive, with_odometry):
            try:
                answer = pipeline.process(observation)
            except FrameError as error:
                raise SystemExit(f"frame {len(records)} of {drive.images[0].parent}: {error}") from None
            assert answer.recognition is not None
            records.append(MatchRecord.from_recognition(answer.recognition))
            if answer.match is not None and answer.match.probability >= usual:
                answer = pipeline.verified(answer)
            confirmed.append(answer.verified is not None and answer.verified.accepted)
    try:
        wanted = calibration.accept_probability(DecisionConfig(accept_precision=WANTED), with_odometry)
    except VprError:
        wanted = math.nan
    return Answers(
        records,
        usual,
        wanted,
        np.array(confirmed, float) if extractor.verify != "none" else np.full(len(records), np.nan),
    )
