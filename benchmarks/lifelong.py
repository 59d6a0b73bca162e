"""Twenty drives of one loop through the seasons: how large a map gets, and what it recognises, four ways of keeping it.

python benchmarks/lifelong.py --out runs/lifelong

Every drive has its own light, season or weather, traffic and place in the lane, and knows its poses. "all": every
keyframe is kept; "known lead": `vpr_ros map --known-lead 0.1`; "pruned": all, and after each drive `vpr_ros prune
--max-keyframes` with twice the first drive's; "newest": the last two drives, by `prune --before`. Nine other drives,
one in each look, are recognised in each map as a robot does. Recall@1 is of single frames within 10 m; "accepted" is
the share that is accepted and right, "wrong" the number that is accepted and is not. Maps keep no local features. Means
are over cities, with the standard deviation. Seconds are CPU time.
"""

import argparse
import csv
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from vpr_ros.colours import GREEN, LIGHT, ORANGE
from vpr_ros.configuration import GateConfig
from vpr_ros.observation import Observation
from vpr_ros.place_map import Bound, PlaceMap, prune
from vpr_ros.recognition import Localizer, Mapper, MapperConfig
from vpr_ros.student import DescriptorExtractor
from vpr_ros.training.synthetic import CameraConfig, named_conditions, plan_drive
from vpr_ros.training.synthetic.drive import START_NS, Drive

YEAR = (
    *("day", "overcast", "day", "rain", "day", "dusk", "overcast", "autumn", "rain", "autumn"),
    *("fog", "dusk", "night", "winter", "snowfall", "winter", "night", "fog", "snowfall", "day"),
)
LOOKS = ("day", "overcast", "dusk", "night", "winter", "autumn", "fog", "rain", "snowfall")
MEASURED_AFTER = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 16, 18, 20)
KNOWN_LEAD, BOUND_DRIVES, RADIUS_M = 0.1, 2, 10.0
WAYS = {"all": LIGHT.ink, "known lead": GREEN, "pruned": LIGHT.blue, "newest": ORANGE}
WEEK_NS = 7 * 24 * 3600 * 10**9
Views = tuple[Drive, np.ndarray, list[np.ndarray]]  # a drive, its descriptors (N, dim) and pictures


@dataclass(frozen=True)
class Row:
    """One map after one drive."""

    city: int
    way: str
    drives: int
    look: str  # of the last drive
    keyframes: int
    megabytes: float
    recall: float  # mean over looks
    worst_recall: float  # of the worst look
    accepted: float  # and right
    wrong: int
    farthest_m: float  # from where any keyframe was to the nearest that is left
    seconds: float  # of the last drive: its mapping without the network, and its pruning


def seen(extractor: DescriptorExtractor, city: int, look: str, number: int, length_m: float, spacing_m: float) -> Views:
    """One drive, rendered and described."""
    offset_m = float(np.random.default_rng([city, number]).uniform(-0.6, 0.6))
    drive = plan_drive(
        city,
        named_conditions(look, 500 + number, lane_offset_m=offset_m),
        CameraConfig(width=320, height=240),
        length_m=length_m,
        spacing_m=spacing_m,
        start_ns=START_NS + number * WEEK_NS,
        lap_m=0.8 * length_m,
    )
    images = [drive.frame(i, with_cloud=False).image for i in range(len(drive))]
    return drive, np.asarray(extractor.describe(images), np.float16), images


def mapped(place_map: PlaceMap, extractor: DescriptorExtractor, views: Views, name: str, lead: float | None) -> None:
    """One drive into a map."""
    drive, descriptors, images = views
    config = MapperConfig(gate=GateConfig(known_lead=lead))
    mapper = Mapper(extractor, place_map, name, config)
    for i, image in enumerate(images):
        pose, odometry = drive.T_map_base[i], drive.T_odom_base[i]
        mapper.take(Observation(int(drive.stamps_ns[i]), image, odometry, pose), descriptors[i])
    place_map.flush()


def recognised(
    place_map: PlaceMap, extractor: DescriptorExtractor, asked: list[Views]
) -> tuple[list[float], float, int]:
    """Recall@1 of each drive, the share that is accepted and right, and how many are accepted and wrong."""
    localizer, keyframes = Localizer(extractor, place_map), place_map.keyframes()
    recalls: list[float] = []
    accepted: list[bool] = []
    wrong = 0
    for drive, descriptors, _ in asked:
        localizer.recogniser.new_drive("")
        hits: list[bool] = []
        for i, descriptor in enumerate(descriptors):
            answer = localizer.recogniser.recognise(int(drive.stamps_ns[i]), descriptor, drive.T_odom_base[i])
            ids = [answer.retrieval[0][0], *([answer.match.keyframe_id] if answer.match else [])]
            there = keyframes.T_map_base[keyframes.rows_of(ids), :3, 3]
            right = np.linalg.norm(there - drive.T_map_base[i, :3, 3], axis=1) <= RADIUS_M
            hits.append(bool(right[0]))
            accepted.append(len(ids) == 2 and bool(right[1]))
            wrong += len(ids) == 2 and not right[1]
        recalls.append(float(np.mean(hits)))
    return recalls, float(np.mean(accepted)), wrong


def one_city(job: tuple[int, float, Path]) -> list[Row]:
    """All drives of one city into four maps, which are measured as they grow."""
    city, length_m, out = job
    extractor = DescriptorExtractor.from_checkpoint("nano", batch_size=8)
    asked = [seen(extractor, city, look, 100 + number, length_m, 6.0) for number, look in enumerate(LOOKS)]
    maps: dict[str, PlaceMap] = {}
    for way in WAYS:
        path = out / f"{city}_{way.replace(' ', '_')}.vpr"
        for former in out.glob(f"{path.name}*"):  # with what SQLite keeps beside it
            former.unlink()
        maps[way] = PlaceMap.create(
            path,
            fingerprint=extractor.fingerprint,
            dim=extractor.dim,
            parts=extractor.parts,
            preprocessing=extractor.preprocessing,
            place_radius_m=RADIUS_M,
            model_name=extractor.name,
        )
    rows: list[Row] = []
    bound = Bound()
    been = np.empty((0, 3))
    for number, look in enumerate(YEAR):
        views = seen(extractor, city, look, number, length_m, 2.5)
        been = np.concatenate([been, views[0].T_map_base[:, :3, 3]])
        for way, place_map in maps.items():
            started = time.process_time()
            mapped(place_map, extractor, views, f"{number + 1} {look}", KNOWN_LEAD if way == "known lead" else None)
            if number == 0:
                bound = Bound(BOUND_DRIVES * len(place_map))
            if way == "pruned":
                prune(place_map, bound=bound)
            elif way == "newest":
                prune(place_map, older_than_ns=int(views[0].stamps_ns[0]) - (BOUND_DRIVES - 1) * WEEK_NS)
            seconds = time.process_time() - started
            if number + 1 in MEASURED_AFTER:
                recalls, accepted, wrong = recognised(place_map, extractor, asked)
                place_map.close()  # the write-ahead log goes into the file
                size, maps[way] = place_map.file_bytes, PlaceMap.open(place_map.path, writable=True)
                left = maps[way].keyframes().T_map_base[:, :3, 3]
                apart_m = np.linalg.norm(been[:, None] - left[None], axis=-1).min(axis=1)
                told = len(left), size / 1e6, float(np.mean(recalls)), min(recalls), accepted, wrong, apart_m.max()
                rows.append(Row(city, way, number + 1, look, *told, seconds))
        print(f"city {city}: drive {number + 1} ({look})", flush=True)
    for place_map in maps.values():
        place_map.close()
    return rows


def over_cities(rows: list[Row], way: str, drives: int, name: str) -> np.ndarray:
    """A figure of every city (C,)."""
    return np.array([getattr(row, name) for row in rows if row.way == way and row.drives == drives])


def draw(path: Path, rows: list[Row]) -> None:
    """Size and recall over the drives, a line each way."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 4.6), dpi=100, facecolor=LIGHT.surface, layout="constrained")
    panels = figure.subplots(1, 3)
    shown = (
        ("keyframes", "keyframes"),
        ("recall", "Recall@1, single frames: mean of nine looks"),
        ("worst_recall", "Recall@1 of the worst look"),
    )
    for axes, (name, title) in zip(panels, shown, strict=True):
        for way, colour in WAYS.items():
            figures = [over_cities(rows, way, drives, name) for drives in MEASURED_AFTER]
            mean, low, high = ([f(one) for one in figures] for f in (np.mean, np.min, np.max))
            axes.plot(MEASURED_AFTER, mean, "o-", color=colour, linewidth=1.6, markersize=3, label=way)
            axes.fill_between(MEASURED_AFTER, low, high, color=colour, alpha=0.12, linewidth=0)
        axes.set_xticks(range(1, len(YEAR) + 1), YEAR, rotation=90, fontsize=7)
        axes.set_title(title, fontsize=10, color=LIGHT.ink)
        axes.grid(color=LIGHT.grid)
        axes.set_xlabel("drives so far, by the look of the last one", fontsize=8)
    panels[0].set_yscale("log")
    panels[0].legend(fontsize=8)
    FigureCanvasAgg(figure).print_png(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/lifelong"), help="folder of maps, table and picture")
    parser.add_argument("--seeds", type=int, nargs="+", default=[2185, 2186, 2187])
    parser.add_argument("--length-m", type=float, default=400.0)
    parser.add_argument("--workers", type=int, default=1, help="cities at once")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = [(seed, options.length_m, options.out) for seed in options.seeds]
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        rows = [row for city in pool.map(one_city, jobs) for row in city]
    with (options.out / "lifelong.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(asdict(rows[0])))
        writer.writeheader()
        writer.writerows(map(asdict, rows))
    figures = list(asdict(rows[0]))[4:]
    print("drives | way | keyframes | MB | Recall@1 | worst look | accepted | wrong | farthest m | seconds")
    for drives in (1, 5, 10, 14, 20):
        for way in WAYS:
            mean, spread = (
                {name: f(over_cities(rows, way, drives, name)) for name in figures}
                for f in (np.mean, lambda one: np.std(one, ddof=1) if len(one) > 1 else 0.0)
            )
            wrong = over_cities(rows, way, drives, "wrong").sum()
            print(
                f"{drives} | {way} | {mean['keyframes']:.0f} | {mean['megabytes']:.2f} | {mean['recall']:.3f} ± "
                f"{spread['recall']:.3f} | {mean['worst_recall']:.3f} ± {spread['worst_recall']:.3f} | "
                f"{mean['accepted']:.3f} ± {spread['accepted']:.3f} | {wrong} | "
                f"{over_cities(rows, way, drives, 'farthest_m').max():.1f} | {mean['seconds']:.1f}"
            )
    draw(options.out / "lifelong.png", rows)


if __name__ == "__main__":
    main()
