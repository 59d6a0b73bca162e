"""Small training sets of random pictures, with and without clouds."""

import json

import cv2
import numpy as np
import pytest


@pytest.fixture
def folder(tmp_path):
    """Two cities, three drives each along the same 30 keypoints, 4 m apart; a place keeps its picture."""
    rng = np.random.default_rng(0)
    out = tmp_path / "set"
    out.mkdir()
    lines = ["frame,drive,city,x_m,y_m,heading_rad,condition,stamp_ns,image,cloud"]
    n = 0
    for city in "ab":
        places = rng.integers(0, 255, (30, 6, 8, 3), dtype=np.uint8)
        for drive in range(3):
            for k in range(30):
                name = f"{n:05d}.jpg"
                picture = cv2.resize(places[k], (32, 24), interpolation=cv2.INTER_CUBIC).astype(float)
                noisy = np.clip(picture + rng.normal(0, 10, picture.shape), 0, 255).astype(np.uint8)
                cv2.imwrite(str(out / name), noisy)
                x, y = 4 * k + drive * 0.5, drive * 0.3
                stamp = (drive * 1000 + k) * 10**9
                lines.append(f"{n},{city}{drive},{city},{x},{y},0.01,summer/day,{stamp},{name},")
                n += 1
    (out / "frames.csv").write_text("\n".join(lines) + "\n")
    (out / "meta.json").write_text(json.dumps({"format": 1}))
    return out


@pytest.fixture(scope="session")
def places_with_clouds(tmp_path_factory):
    """Two cities, two drives each along 12 places 20 m apart; a place keeps its picture and its cloud."""
    rng = np.random.default_rng(0)
    out = tmp_path_factory.mktemp("set")
    lines = ["frame,drive,city,x_m,y_m,heading_rad,condition,stamp_ns,image,cloud"]
    for city in "ab":
        places = rng.integers(0, 255, (12, 4, 6, 3), dtype=np.uint8)
        clouds = rng.uniform([-9, -9, 0], [9, 9, 5], (12, 60, 3))
        for drive in range(2):
            for k in range(12):
                name = f"{city}{drive}{k:02d}"
                cv2.imwrite(str(out / f"{name}.png"), cv2.resize(places[k], (24, 16), interpolation=cv2.INTER_CUBIC))
                np.save(out / f"{name}.npy", (clouds[k] + rng.normal(0, 0.1, (60, 3))).astype(np.float16))
                x, y, stamp = 20 * k + drive, drive * 0.3, (drive * 1000 + k) * 10**9
                lines.append(f"{k},{city}{drive},{city},{x},{y},0.01,summer/day,{stamp},{name}.png,{name}.npy")
    (out / "frames.csv").write_text("\n".join(lines) + "\n")
    (out / "meta.json").write_text(json.dumps({"format": 1}))
    return out
