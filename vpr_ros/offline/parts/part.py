"""One bag of several as a part map: a file that appears when it is whole, and whose id says what it was made of."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from vpr_ros.atomic import whole_entry
from vpr_ros.configuration import Precision
from vpr_ros.errors import VprError
from vpr_ros.offline.map_bag import MapBagConfig, MapBagResult, map_bag
from vpr_ros.place_map import PlaceMap
from vpr_ros.runtime.opening import Extractor, load_extractor, make_map
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors.bags.losses import reading_bags

_BESIDE_A_BAG = ("-wal", "-shm", "-journal")  # files that reading a bag may leave in its folder


@dataclass(frozen=True)
class Network:
    """Which network describes, on what, in the words of PipelineConfig; `fingerprint` is that of its weights."""

    checkpoint: str
    device: str
    precision: Precision
    threads: int
    fingerprint: str


@dataclass(frozen=True)
class Part:
    """A bag, the part map that it becomes, and the map that this is for. Plain values: any machine can make it."""

    bag: Path
    path: Path  # of the part map
    map_id: str  # of the part map, as `part_id`
    map_path: Path  # what the part is for; sentences name it
    datum: tuple[float, float, float] | None
    place_radius_m: float
    config: MapBagConfig
    network: Network
    strict: bool = False  # a bag that is not whole is refused


@dataclass(frozen=True)
class PartResult:
    """What became of a bag: `mapped` is None and `failure` a sentence where it became no part map."""

    bag: Path
    mapped: MapBagResult | None
    failure: str = ""
    losses: tuple[str, ...] = ()  # sentences on what a bag lacks that is not whole


def part_id(bag: Path, fingerprint: str, config: MapBagConfig) -> str:
    """The id of a bag's part map: the same for the same files, network and settings, and for nothing else.

    Files are told by name, size and time of change. What the map decides is none of the settings, its frame and the
    size of its places, nor is how many images are described at once.
    """
    settings = asdict(replace(config, batch_size=0, brings_frame=True, place_radius=None))
    facts = [str(bag.absolute()), list(_files(bag)), fingerprint, settings]
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]


def is_made(part: Part) -> bool:
    """Whether the part map is there already, whole, and made of the same files, network and settings."""
    try:
        with PlaceMap.open(part.path, fingerprint=part.network.fingerprint) as place_map:
            made = place_map.map_id, place_map.datum, place_map.place_radius_m
            return made == (part.map_id, part.datum, part.place_radius_m)
    except VprError:
        return False


def make_part(part: Part) -> PartResult:
    """Map the bag of a part; what a killed process left of it is made anew. Never raises for what is wrong with it.

    KeyboardInterrupt leaves nothing.
    """
    losses: list[str] = []
    draft = part.path
    try:
        extractor = _extractor(part.network)
        with reading_bags(part.strict, losses.append), whole_entry(part.path) as draft:
            mapped = _mapped(part, draft, extractor)
    except (VprError, OSError) as error:
        sentence = str(error).replace(str(draft), str(part.map_path))
        return PartResult(part.bag, None, sentence, tuple(losses))
    return PartResult(part.bag, mapped, "", tuple(losses))


def _mapped(part: Part, draft: Path, extractor: Extractor) -> MapBagResult:
    frame_id = part.config.drive.map_frame
    make_map(draft, extractor, part.place_radius_m, frame_id, part.datum, part.map_id).close()
    mapped = map_bag(part.bag, draft, extractor, part.config)
    if mapped.interrupted:
        raise KeyboardInterrupt
    return mapped


@lru_cache(maxsize=1)
def _extractor(network: Network) -> Extractor:
    """The network, loaded once a process. VprError where the checkpoint's name means other weights here."""
    config = PipelineConfig(
        checkpoint=network.checkpoint, device=network.device, precision=network.precision, threads=network.threads
    )
    extractor = load_extractor(config)
    if extractor.fingerprint != network.fingerprint:
        raise VprError(
            f"checkpoint '{network.checkpoint}' is another one ({extractor.fingerprint[:12]}) on this machine than "
            f"where the command was called ({network.fingerprint[:12]}): put the same file on all machines"
        )
    return extractor


def _files(bag: Path) -> Iterator[tuple[str, int, int]]:
    """Name, size and time of change of all files of a bag, in the order of their names."""
    for path in sorted(bag.rglob("*")) if bag.is_dir() else [bag]:
        if path.is_file() and not path.name.endswith(_BESIDE_A_BAG):
            known = path.stat()
            yield path.name, known.st_size, known.st_mtime_ns
