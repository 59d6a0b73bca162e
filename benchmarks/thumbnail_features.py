"""What local features of a map's thumbnails are worth beside those of the pictures, in a rendered world.

A map by day with a keyframe every 2 m, and a drive of the same streets at night in the other half of the lane, its
pictures 320x240. The features of every third query are matched with those of the keyframe that is nearest in truth,
and its ten most alike keyframes are put into the order of their numbers of matches. 1060 is a development world.

    OMP_NUM_THREADS=1 python benchmarks/thumbnail_features.py runs/thumbnails
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from vpr_ros.local_features import mutual_matches, open_local_features
from vpr_ros.local_features.matching import epipolar_inliers
from vpr_ros.offline.map_bag import MapBagConfig, map_bag
from vpr_ros.place_map import PlaceMap, thumbnail_features
from vpr_ros.runtime.health import Health
from vpr_ros.runtime.opening import load_extractor
from vpr_ros.runtime.pipeline import Pipeline
from vpr_ros.runtime.settings import PipelineConfig
from vpr_ros.sensors import Drive, DriveTopics
from vpr_ros.training.synthetic import CameraConfig, named_conditions, plan_drive
from vpr_ros.training.synthetic.bags import TRUTH_TOPIC, write_drive_bag

WORLD, LENGTH_M, SPACING_M, EVERY, CANDIDATES, NEAR_M = 1060, 300.0, 2.0, 3, 10, 5.0
POSES = DriveTopics(pose=TRUTH_TOPIC)


def bag(folder: Path, look: str, lane_offset_m: float, start_ns: int) -> Path:
    """A rendered drive, kept for the next call."""
    path = folder / look
    if not path.exists():
        conditions = named_conditions(look, seed=WORLD * 10 + len(look), lane_offset_m=lane_offset_m)
        drive = plan_drive(
            WORLD, conditions, CameraConfig(320, 240), length_m=LENGTH_M, spacing_m=SPACING_M, start_ns=start_ns
        )
        write_drive_bag(path, drive)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    first, second = bag(folder, "day", 0.0, 10**18), bag(folder, "night", 0.5, 2 * 10**18)
    extractor = load_extractor(PipelineConfig())
    maps = {name: folder / f"{name}.vpr" for name in ("pictures", "thumbnails")}
    for path in maps.values():
        path.unlink(missing_ok=True)
    map_bag(first, maps["pictures"], extractor, MapBagConfig(topics=POSES, local_features="xfeat"))
    shutil.copy(maps["pictures"], maps["thumbnails"])
    local = open_local_features("xfeat")
    with PlaceMap.open(maps["thumbnails"], writable=True) as place_map:
        thumbnail_features(place_map, None)
        thumbnail_features(place_map, local)
    for name, path in maps.items():
        matched, agreed, right, alone, queries = [], [], 0, 0, 0
        config = PipelineConfig(map_path=path, mode="localize")
        with Pipeline.open(config, Health(), extractor) as pipeline, Drive(second, POSES) as drive:
            keyframes = pipeline.place_map.keyframes()
            positions = keyframes.T_map_base[:, :3, 3]
            for number, observation in enumerate(drive):
                answer = pipeline.process(observation)
                if number % EVERY or observation.T_map_base is None:
                    continue
                assert answer.recognition is not None and answer.features is not None
                away_m = np.linalg.norm(positions - observation.T_map_base[:3, 3], axis=1)
                query = answer.features.get()
                rows = keyframes.rows_of([i for i, _ in answer.recognition.retrieval[:CANDIDATES]])
                counts = []
                for row in (int(away_m.argmin()), *rows):
                    one = pipeline.place_map.features(int(keyframes.ids[row]))
                    assert query is not None and one is not None
                    pairs = mutual_matches(query, one)
                    counts.append((len(pairs), int(epipolar_inliers(query, one, pairs).sum())))
                matched.append(counts[0][0])
                agreed.append(counts[0][1])
                best = rows[int(np.argmax([count for count, _ in counts[1:]]))]
                queries, right = queries + 1, right + (away_m[best] < NEAR_M)
                alone += away_m[rows[0]] < NEAR_M
        print(
            f"{name:12s} matches {np.median(matched):5.0f}, of them on one geometry {np.median(agreed):5.0f}; "
            f"recall@1 of {queries} queries {right / queries:.3f} by matches, {alone / queries:.3f} by similarity",
            flush=True,
        )


if __name__ == "__main__":
    main()
