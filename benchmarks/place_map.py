"""Size, loading and search of a map of many keyframes (random descriptors of 512 numbers, both poses, no thumbnails).

python benchmarks/place_map.py --keyframes 100000
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from vpr_ros.place_map import PlaceMap, map_index

SEARCHES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keyframes", type=int, default=100_000)
    count = parser.parse_args().keyframes
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.vpr"
        with PlaceMap.create(path, fingerprint="f" * 64, dim=512, preprocessing={}, place_radius_m=10.0) as place_map:
            session, T = place_map.start_session("bench"), np.eye(4)
            for i in range(count):
                vector = rng.standard_normal(512, dtype=np.float32)
                T[0, 3] = i
                place_map.add(session, i * 10**8, vector / np.linalg.norm(vector), T, T)
        print(f"{count} keyframes, {path.stat().st_size / count:.0f} bytes each")
        started = [time.perf_counter()]
        with PlaceMap.open(path) as place_map:
            started.append(time.perf_counter())
            keyframes = place_map.keyframes()
            started.append(time.perf_counter())
            index = map_index(place_map, keyframes.descriptors)
            started.append(time.perf_counter())
        times = []
        for query in keyframes.descriptors[:SEARCHES]:
            begin = time.perf_counter()
            index.search(query[None], 25)
            times.append(time.perf_counter() - begin)
        opened, loaded, indexed = np.diff(started)
        print(f"open with checks {opened:.2f} s, load {loaded:.2f} s, index {indexed:.2f} s")
        print(f"exact search, one query, k=25: median {1e3 * np.median(times):.1f} ms")


if __name__ == "__main__":
    main()
