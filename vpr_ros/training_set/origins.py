"""The origins of GNSS poses in a training set: all drives of a city use one frame."""

import json
from pathlib import Path

from vpr_ros.atomic import write_whole
from vpr_ros.errors import VprError
from vpr_ros.plain_files import parse_json
from vpr_ros.training_set.format import META, ORIGINS

Datum = tuple[float, float, float]  # latitude, longitude in degrees, altitude in metres


class Origins:
    """The origin of one city's poses, recorded in the set's folder.

    A bag with satellite fixes has poses relative to its first fix unless another origin is given. The first such
    drive of a city writes its origin here, and every later one is read with it. Poses in the map frame that do not
    come from fixes have an unknown origin: the two kinds are not mixed. VprError for a damaged file.
    """

    def __init__(self, folder: Path, city: str):
        self._path, self._city = folder / ORIGINS, city
        self._all: dict[str, Datum] = {}
        self._folder = folder
        try:
            self._all = {str(k): _datum(v) for k, v in parse_json(self._path.read_text(encoding="utf-8")).items()}
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, AttributeError):
            raise VprError(
                f"{self._path} is damaged, so new drives cannot share the old ones' frame; name another folder"
            ) from None

    @property
    def datum(self) -> Datum | None:
        """The city's origin, None where no drive with fixes is in it."""
        return self._all.get(self._city)

    def check(self, datum: Datum | None) -> None:
        """VprError unless poses with this origin (None: not from fixes) may be stored with the city's others."""
        if datum is None and self.datum is not None:
            raise VprError(
                f"city '{self._city}' of {self._folder} has poses from satellite fixes, and this bag's come "
                "from elsewhere: they share no frame; name another city or the topic of the fixes"
            )
        if datum is not None and self.datum is None and self._has_map_drives():
            raise VprError(
                f"city '{self._city}' of {self._folder} has poses that do not come from satellite fixes, "
                "and this bag's do: they share no frame; name another city or another pose topic"
            )

    def record(self, datum: Datum | None) -> None:
        """Record the origin of the city's first drive with fixes."""
        if datum is None or self.datum is not None:
            return
        self._all[self._city] = _datum(datum)
        write_whole(
            self._path,
            json.dumps(self._all, indent=1),
            explain=lambda error: VprError(
                f"{self._path} cannot be written ({error.strerror}); check space and rights"
            ),
        )

    def _has_map_drives(self) -> bool:
        """Whether the city has drives with poses in the map frame."""
        try:
            drives = parse_json((self._folder / META).read_text(encoding="utf-8"))["drives"]
            return any(entry["city"] == self._city and entry["poses"] == "map" for entry in drives)
        except (OSError, ValueError, KeyError, TypeError):
            return False


def _datum(values) -> Datum:
    latitude, longitude, altitude = (float(v) for v in values)
    return latitude, longitude, altitude
