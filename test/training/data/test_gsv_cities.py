"""GSV-Cities' layout: places, positions, file names, missing parts; and batches that visit places."""

import shutil
from collections import Counter
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from vpr_ros.errors import VprError
from vpr_ros.geometry import geodetic_to_enu
from vpr_ros.training.data.datasets.gsv_cities import GSVCities
from vpr_ros.training.data.sample import SampleSet

HEADER = "place_id,year,month,northdeg,city_id,lat,lon,panoid"
PLACES = {"London": (51.5, -0.1), "Boston": (42.37, -71.07)}
# Ids as they are: base64 with dashes and underscores.
PANOS = (
    "6jFjb3wGyCkcBfq4k559ag",
    "0t-xcCsazIGAjdNC96IF0w",
    "7P0FnGV3k4Fmtw66b8_-Gg",
    "_c2MyXGeslIiua6cM_DQx9V-",
    "W3KMPec54NBqLMzmZmGv-Q",
    "R2vU9sk2livhkYbhy8SFfA",
)


def write_set(root, counts=(6, 4, 3, 5), suffix=".jpg"):
    """Two cities of four places with so many pictures each; a picture's grey tells its city and place."""
    for c, (city, (lat, lon)) in enumerate(PLACES.items()):
        (root / "Images" / city).mkdir(parents=True)
        (root / "Dataframes").mkdir(exist_ok=True)
        lines = [HEADER]
        for place, count in enumerate(counts):
            for k in range(count):
                year, month, north = 2010 + k, 1 + (place + k) % 12, (place * 100 + k * 97) % 500
                a, b = lat + 0.002 * place + 1e-5 * k, lon - 1.234567890123e-05 * k
                pano = PANOS[k]
                lines.append(f"{130 + place},{year},{month},{north},{city},{a},{b},{pano}")
                name = f"{city}_{130 + place:07d}_{year}_{month:02d}_{north:03d}_{a}_{b}_{pano}{suffix}"
                cv2.imwrite(str(root / "Images" / city / name), np.full((30, 40, 3), 100 * c + 20 * place + k, "u1"))
        (root / "Dataframes" / f"{city}.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp("gsv"))


@pytest.fixture
def root(written, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(written, tmp_path / "gsv")


def test_places_with_four_pictures_or_more(written):
    samples = GSVCities(written)
    assert isinstance(samples, SampleSet) and samples.cities == ["Boston", "London"]
    expected = {130: 6, 131: 4, 133: 5, 100130: 6, 100131: 4, 100133: 5}
    assert Counter(samples.places.tolist()) == expected and samples.missing == 0
    assert set(GSVCities(written, min_images=5).places.tolist()) == {130, 133, 100130, 100133}
    chosen = GSVCities(written, ["London", "Boston"])
    assert chosen.areas[0] == "London" and chosen.places[0] == 130  # cities are numbered as they are named


def test_each_row_is_its_own_picture(written):
    samples = GSVCities(written, ["London", "Boston"])
    lines = {c: (written / "Dataframes" / f"{c}.csv").read_text().splitlines()[1:] for c in PLACES}
    rows = [(c, line.split(",")) for c in PLACES for line in lines[c]]
    rows = [(c, row) for c, row in rows if row[0] != "132"]  # three pictures only
    seen = Counter()
    for i, (city, row) in enumerate(rows):
        sample, place = samples[i], int(row[0]) - 130
        k = seen[city, place]
        seen[city, place] += 1
        assert abs(int(sample.image.mean()) - (100 * (city == "Boston") + 20 * place + k)) <= 1
        assert sample.place == samples.places[i] == int(row[0]) + 100000 * (city == "Boston")
        lat, lon = PLACES[city]
        origin = (round(lat + 0.002), round(lon), 0.0)
        np.testing.assert_allclose(
            samples.positions_m[i], geodetic_to_enu(float(row[5]), float(row[6]), 0.0, origin)[:2], atol=1e-6
        )
        compass = np.radians(float(row[3]))
        forward = sample.T_world_base[:2, 0]  # east, north
        np.testing.assert_allclose(forward, [np.sin(compass), np.cos(compass)], atol=1e-12)
        assert samples.headings_rad[i] == pytest.approx(np.arctan2(forward[1], forward[0]))
        taken = datetime.fromtimestamp(sample.stamp_ns * 1e-9, timezone.utc)
        assert (taken.year, taken.month, taken.day) == (int(row[1]), int(row[2]), 1)
        assert (samples.areas[i], sample.cloud, sample.drive) == (city, None, f"{city} {row[1]}-{int(row[2]):02d}")
    assert i == len(samples) - 1


def test_positions_do_not_depend_on_what_is_left_out(written):
    all_of_it, few = GSVCities(written, ["London"]), GSVCities(written, ["London"], min_images=6)
    np.testing.assert_array_equal(few.positions_m, all_of_it.positions_m[all_of_it.places == 130])


def test_names_in_other_cases_and_with_other_digits_are_found(tmp_path):
    root = write_set(tmp_path, suffix=".JPG")
    for path in (root / "Images" / "London").iterdir():
        parts = path.name.split("_")
        parts[6] = f"{float(parts[6]):.7f}"  # longitude
        path.rename(path.with_name("_".join(parts)))
    assert len(GSVCities(root)) == 30


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (
            lambda r: shutil.rmtree(r / "Dataframes"),
            r"is no GSV-Cities folder: it needs Dataframes/<City>.csv and Images",
        ),
        (lambda r: shutil.rmtree(r / "Images"), "is no GSV-Cities folder"),
        (
            lambda r: shutil.rmtree(r / "Images" / "London"),
            "London is missing: the pictures that Dataframes/London.csv",
        ),
        (lambda r: [p.unlink() for p in (r / "Dataframes").iterdir()], "has no table of any city; it has no .csv file"),
        (
            lambda r: (r / "Dataframes" / "London.csv").write_text("place_id,year\n1,2\n"),
            "lacks the columns month, north",
        ),
        (lambda r: (r / "Dataframes" / "London.csv").write_text(HEADER + "\n"), "lists no picture"),
        (
            lambda r: (r / "Dataframes" / "London.csv").write_text(HEADER + "\n130,2010,1\n"),
            r"London.csv, line 2, is torn",
        ),
        (
            lambda r: (r / "Dataframes" / "London.csv").write_text(HEADER + "\n130,2010,13,0,L,51,0,x\n"),
            "line 2, is torn",
        ),
        (lambda r: (r / "Dataframes" / "London.csv").write_bytes(b"\xff\xfe\x00"), "is no table"),
    ],
)
def test_folders_that_are_not_whole(root, spoil, sentence):
    spoil(root)
    with pytest.raises(VprError, match=sentence):
        GSVCities(root)


def test_missing_pictures(root, tmp_path):
    files = sorted((root / "Images" / "London").iterdir())
    files[3].write_bytes(b"")
    with pytest.raises(VprError, match=r"London lacks 1 of the 18 pictures .* \*_0000130_2013_04_291_\*_"):
        GSVCities(root)
    with pytest.raises(VprError, match=f"give {root}"):
        GSVCities(tmp_path)
    with pytest.raises(VprError, match="has no table of Paris; it has Boston, London"):
        GSVCities(root, ["Paris"])
    with pytest.raises(VprError, match="is named twice"):
        GSVCities(root, ["Boston", "Boston"])
    torn = sorted((root / "Images" / "Boston").iterdir())[0]
    torn.write_bytes(torn.read_bytes()[:20])
    with pytest.raises(VprError, match="missing or torn"):
        GSVCities(root, ["Boston"])[0]


def test_a_few_missing_pictures_are_left_out_with_their_place(root):
    # 2 % of many: the table of a large city with one picture missing at a place that then has three.
    table = root / "Dataframes" / "London.csv"
    lines = table.read_text().splitlines()
    for place in range(200, 270):
        picture = sorted((root / "Images" / "London").glob("*_0000131_*"))[0]
        parts = picture.name.split("_")
        parts[1] = f"{place:07d}"
        shutil.copy(picture, picture.with_name("_".join(parts)))
        lines.append(f"{place},{parts[2]},{int(parts[3])},{int(parts[4])},London,51.6,-0.1,{'_'.join(parts[7:])[:-4]}")
    table.write_text("\n".join(lines) + "\n")
    sorted((root / "Images" / "London").glob("*_0000131_*"))[1].unlink()
    samples = GSVCities(root, ["London"])
    assert samples.missing == 1 and set(samples.places.tolist()) == {130, 133}
