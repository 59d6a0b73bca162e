"""GSV-Cities: street-view pictures by place, in the layout of the data set's authors.

    Dataframes/<City>.csv      place_id,year,month,northdeg,city_id,lat,lon,panoid
    Images/<City>/<city_id>_<place_id, 7 digits>_<year>_<month, 2>_<northdeg, 3>_<lat>_<lon>_<panoid>.jpg

A place's pictures show one street in about one direction in several years; places are 100 m or more apart.
"""

import csv
import os
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from vpr_ros.errors import VprError
from vpr_ros.geometry import geodetic_to_enu, planar_transform
from vpr_ros.training.data.sample import METRES, Modality, Sample, SampleSet
from vpr_ros.training.data.sensor_files import read_rgb

CITY_STRIDE = 100_000  # between the numbers of one city's places and the next one's
MISSING_TOLERATED = 0.02  # of a city's pictures
_COLUMNS = ("place_id", "year", "month", "northdeg", "lat", "lon", "panoid")
# Read from the left: a panorama's id may hold underscores and dashes itself. Latitude and longitude come
# from the table: how many digits of them a name holds is not specified.
_NAME = re.compile(
    r".+?_(\d{7})_(\d{4})_(\d\d)_(-?\d+)_-?[\d.]+(?:e-?\d+)?_-?[\d.]+(?:e-?\d+)?_(.+)\.jpe?g", re.IGNORECASE
)


class GSVCities(SampleSet):
    """Pictures of places with at least `min_images` of them, city after city, as a SampleSet with place numbers.

    `places` (N,): place_id + 100000 * number of the city in `cities` (all tables by name where None is given).
    Positions are metres east and north of the whole degrees nearest to the middle of the city's table, so they do not
    depend on what is left out; headings are the camera's. A stamp is the first day of the picture's month.
    Raises VprError, one sentence, for a folder of another layout, a torn table, and more than 2 % of a city's pictures
    missing; single missing pictures are left out and counted in `missing`.
    """

    name, cloud_unit = "gsv-cities", METRES

    def __init__(self, root: str | Path, cities: Sequence[str] | None = None, min_images: int = 4):
        self.root = Path(root)
        self.cities = list_cities(self.root, cities)
        self.missing = 0
        parts = []
        for number, city in enumerate(self.cities):
            table = read_table(self.root / "Dataframes" / f"{city}.csv")
            files = self._files(city, table)
            self.missing += sum(name is None for name in files)
            there = np.array([name is not None for name in files])
            _, inverse, counts = np.unique(table["place"][there], return_inverse=True, return_counts=True)
            rows = np.flatnonzero(there)[counts[inverse] >= min_images]
            parts.append(
                {
                    "file": [files[i] for i in rows],
                    "city": np.full(len(rows), number),
                    **{key: column[rows] for key, column in table.items()},
                }
            )
        self._files_of = [name for part in parts for name in part["file"]]
        columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key != "file"}
        if not self._files_of:
            raise VprError(f"{self.root} has no place with {min_images} pictures in {', '.join(self.cities)}")
        self._city = columns["city"]
        self.places = self._places = columns["place"] + CITY_STRIDE * self._city
        self.positions_m = columns["xy"]
        self.headings_rad = self._headings_rad = columns["heading"]
        self.areas = np.array(self.cities)[self._city]
        self.drives = np.char.add(np.char.add(self.areas, " "), columns["month"])
        self.conditions = np.full(len(self), "")
        self.stamps_ns = columns["stamp"]

    def __len__(self) -> int:
        return len(self._files_of)

    def read(self, row: int, modalities: Collection[Modality]) -> Sample:
        x, y = self.positions_m[row]
        file = self.root / "Images" / str(self.areas[row]) / self._files_of[row]
        return Sample(
            image=read_rgb(file) if "image" in modalities else None,
            cloud=None,
            T_world_base=planar_transform(float(x), float(y), float(self._headings_rad[row])),
            stamp_ns=int(self.stamps_ns[row]),
            place=int(self._places[row]),
            drive=str(self.drives[row]),
        )

    def _files(self, city: str, table: dict[str, np.ndarray]) -> list[str | None]:
        """The file's name for every row of a city's table, None where it is missing."""
        folder = self.root / "Images" / city
        if not folder.is_dir():
            raise VprError(
                f"{folder} is missing: the pictures that Dataframes/{city}.csv lists lie there; unpack the "
                "whole archive, or leave the city out"
            )
        found = {}
        with os.scandir(folder) as entries:
            for entry in entries:
                parsed = _NAME.fullmatch(entry.name)
                if parsed and entry.stat().st_size > 0:
                    found[(*map(int, parsed.groups()[:4]), parsed[5])] = entry.name
        files = [found.get(key) for key in _keys(table)]
        lacking = sum(name is None for name in files)
        if lacking > MISSING_TOLERATED * len(files):
            place, year, month, north, pano = next(k for k, f in zip(_keys(table), files, strict=True) if f is None)
            raise VprError(
                f"{folder} lacks {lacking} of the {len(files)} pictures that Dataframes/{city}.csv lists "
                f"(the first: *_{place:07d}_{year}_{month:02d}_{north:03d}_*_{pano}.jpg); unpack the "
                "archive again"
            )
        return files


def list_cities(root: Path, names: Sequence[str] | None = None) -> list[str]:
    """Names of the cities that have a table: those of `names`, in their order, or all. VprError for missing ones."""
    tables = root / "Dataframes"
    if not tables.is_dir() or not (root / "Images").is_dir():
        inside = next((p.parent for p in sorted(root.glob("*/Dataframes"))), None) if root.is_dir() else None
        hint = f"; give {inside}" if inside else "; give the unpacked archive's folder that holds both"
        raise VprError(f"{root} is no GSV-Cities folder: it needs Dataframes/<City>.csv and Images/<City>/{hint}")
    there = sorted(p.stem for p in tables.glob("*.csv"))
    cities = there if names is None else list(names)
    absent = [c for c in cities if c not in there]
    if absent or not cities:
        raise VprError(
            f"{tables} has no table of {', '.join(absent) or 'any city'}; it has {', '.join(there) or 'no .csv file'}"
        )
    if len(set(cities)) < len(cities):
        raise VprError(f"a city is named twice in {', '.join(cities)}")
    return cities


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a city's table: place, year, month_number, north, pano as in the file; xy (N, 2), heading, stamp and
    month derived from it.

    Raises VprError for missing columns and the line that is torn.
    """
    rows = []
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            lacking = [name for name in _COLUMNS if name not in header]
            if lacking:
                raise VprError(f"{path} lacks the columns {', '.join(lacking)}; unpack the archive again")
            at = [header.index(name) for name in _COLUMNS]
            for row in reader:
                try:
                    place, year, month, north = (int(row[at[i]]) for i in range(4))
                    lat, lon, pano = float(row[at[4]]), float(row[at[5]]), row[at[6]]
                    possible = 0 <= place < CITY_STRIDE and 1900 <= year < 2200 and abs(north) < 10_000
                    if not (possible and abs(lat) <= 90 and abs(lon) <= 540 and pano):
                        raise ValueError
                    stamp = datetime(year, month, 1, tzinfo=timezone.utc).timestamp()
                except (ValueError, IndexError):
                    raise VprError(
                        f"{path}, line {reader.line_num}, is torn or no picture of a place; unpack the archive again"
                    ) from None
                rows.append((place, year, month, north, pano, lat, lon, int(stamp) * 10**9))
    except OSError as error:
        raise VprError(f"{path} cannot be read ({error.strerror}); unpack the archive again") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise VprError(f"{path} is no table ({error}); unpack the archive again") from None
    if not rows:
        raise VprError(f"{path} lists no picture; unpack the archive again")
    place, year, month, north, pano, lat, lon, stamp = (np.array(column) for column in zip(*rows, strict=True))
    heading = np.radians(90.0 - north)
    return {
        "place": place,
        "year": year,
        "month_number": month,
        "north": north,
        "pano": pano,
        "xy": _east_north(lat, lon, (np.round(np.median(lat)), np.round(np.median(lon)))),
        "heading": np.arctan2(np.sin(heading), np.cos(heading)),
        "stamp": stamp.astype(np.int64),
        "month": np.array([f"{y}-{m:02d}" for y, m in zip(year, month, strict=True)]),
    }


def _keys(table: dict[str, np.ndarray]) -> Iterator[tuple]:
    """Keys that identify a picture both in the table and in its file's name."""
    columns = [table[name].tolist() for name in ("place", "year", "month_number", "north", "pano")]
    return zip(*columns, strict=True)


def _east_north(lat: np.ndarray, lon: np.ndarray, origin: tuple[float, float]) -> np.ndarray:
    """Metres (N, 2) east and north of an origin, in its tangent plane; degrees, at sea level."""
    return geodetic_to_enu(lat, lon, 0.0, (*origin, 0.0))[:, :2]
