"""Opening what a pipeline works with: the network, and the map, which is made where it is missing."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vpr_ros.configuration import Precision
from vpr_ros.place_map import Describer, PlaceMap
from vpr_ros.runtime.settings import PLACE_RADIUS_FRAMES, PLACE_RADIUS_M, PipelineConfig
from vpr_ros.runtime.threads import most_threads, threads_in_use, use_threads

if TYPE_CHECKING:
    from vpr_ros.student import DescriptorExtractor


class Extractor(Describer, Protocol):
    """A network on a device, such as `vpr_ros.student.DescriptorExtractor`."""

    @property
    def device(self) -> object:
        """The device; its `str` is "cpu", "cuda:0" ..."""
        ...

    @property
    def precision(self) -> Precision: ...


@dataclass(frozen=True)
class DriveFacts:
    """What is known of a drive before its first frame: of a bag much, of a live robot nothing."""

    datum: tuple[float, float, float] | None = None  # latitude, longitude (degrees), altitude (m) of the poses' origin
    has_poses: bool | None = None  # None: the first frame tells


@dataclass(frozen=True)
class OpenedMap:
    """A map, and whether it was made by this opening."""

    place_map: PlaceMap
    created: bool

    def close(self) -> None:
        """Saves and closes the map; a map that was made here and stayed empty is removed again."""
        try:
            self.place_map.close()
        finally:
            if self.created and not self.place_map.saved_up_to():
                self.place_map.path.unlink(missing_ok=True)


MANY = 8  # images that are described at once by commands that have many of them


def load_extractor(config: PipelineConfig, batch: int = 0) -> "DescriptorExtractor":
    """The configured network on its device, and on as many threads as it is worth for `batch` images (0: one) at once.

    The one place that opens a network to describe with: the node and all commands come here, so that one rule decides
    the threads. Raises VprError for a checkpoint that cannot be read.
    """
    from vpr_ros.student import DescriptorExtractor

    most_threads()
    extractor = DescriptorExtractor.from_checkpoint(config.checkpoint, config.device, config.precision)
    if config.threads or extractor.device.type == "cpu":
        parameters = sum(value.numel() for value in extractor.model.parameters())
        use_threads(parameters, extractor.input_size, max(batch, 1), config.threads)
    return extractor


def load_network(checkpoint: str | Path, device: str) -> "DescriptorExtractor":
    """As `load_extractor`, for commands that describe many images at once and configure nothing else."""
    return load_extractor(PipelineConfig(checkpoint=checkpoint, device=device), MANY)


def network_facts(extractor: Extractor) -> dict[str, str | int]:
    """What the network runs on, by the names of the parameters."""
    return {"device": str(extractor.device), "precision": extractor.precision, "threads": threads_in_use()}


def network_phrase(extractor: Extractor) -> str:
    """The same for people: "cpu fp32, 1 thread"."""
    facts = network_facts(extractor)
    return f"{facts['device']} {facts['precision']}, {facts['threads']} thread{'' if facts['threads'] == 1 else 's'}"


def open_map(config: PipelineConfig, extractor: Describer, facts: DriveFacts) -> OpenedMap:
    """The configured map: to read in mode localize, else to write, and made of `facts` where it is missing.

    Raises VprError for a map of another model and for whatever is wrong with the file.
    """
    path, writable = Path(config.map_path).expanduser(), config.mode != "localize"
    fingerprint, dim, name = extractor.fingerprint, extractor.dim, extractor.name
    if path.exists() or not writable:
        opened = PlaceMap.open(path, fingerprint=fingerprint, dim=dim, model_name=name, writable=writable)
        return OpenedMap(opened, created=False)
    radius = new_place_radius(config, facts.has_poses is not False)
    return OpenedMap(make_map(path, extractor, radius, config.map_frame, facts.datum), created=True)


def make_map(
    path: Path,
    extractor: Describer,
    place_radius_m: float,
    frame_id: str,
    datum: tuple[float, float, float] | None = None,
    map_id: str = "",
) -> PlaceMap:
    """An empty map for the descriptors of a model, open for writing; see `PlaceMap.create`."""
    return PlaceMap.create(
        path,
        fingerprint=extractor.fingerprint,
        dim=extractor.dim,
        parts=extractor.parts,
        model_name=extractor.name,
        preprocessing=extractor.preprocessing,
        place_radius_m=place_radius_m,
        frame_id=frame_id,
        datum=datum,
        map_id=map_id,
    )


def new_place_radius(config: PipelineConfig, has_poses: bool) -> float:
    """Place radius of a new map, in metres, or in frames where its drive has no poses."""
    return config.place_radius or (PLACE_RADIUS_M if has_poses else PLACE_RADIUS_FRAMES)
