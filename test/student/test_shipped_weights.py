"""The weights in the package: small, complete, described, and better than random weights on a drawn street."""

import numpy as np

from vpr_ros.configuration import DRIVE_MEAN_FRAMES
from vpr_ros.recognition.calibration import Calibration
from vpr_ros.student import D2VPR, DescriptorExtractor, read_checkpoint
from vpr_ros.student.catalogue.names import WEIGHTS_DIR
from vpr_ros.student.parts import lengths_of
from vpr_ros.training.synthetic.cardboard import make_place, render_view


def test_nano_is_complete_and_small():
    found = read_checkpoint("nano")
    assert lengths_of(found.model.config, found.projection) == (640, 128)
    calibration = Calibration.from_dict(found.calibration_json)
    assert calibration.source == "checkpoint" and calibration.drive_mean_frames == DRIVE_MEAN_FRAMES
    assert len(calibration.evidence.map.knots) == 5, "the evidence of both parts is weighed"
    file = WEIGHTS_DIR / "nano.safetensors"
    assert file.stat().st_size <= 12e6 and file.with_suffix(".md").read_text().startswith("# Model card")
    provenance = found.metadata["provenance"]
    assert provenance["trunk"]["licence"] == "Apache-2.0"
    assert not any("/" in name for name in provenance["projection"]["sources"]), "no path of the machine it was made on"


def test_nano_recognises_places_that_its_untrained_copy_does_not():
    views = []
    for seed in range(40):
        place = make_place(np.random.default_rng((9, seed)))
        views.append([render_view(place, (96, 128), np.random.default_rng((9, seed, k))) for k in range(2)])
    trained = DescriptorExtractor.from_checkpoint("nano", device="cpu", batch_size=20)
    untrained = DescriptorExtractor(D2VPR(trained.model.config), device="cpu", batch_size=20)

    def recall(extractor):
        a, b = (np.asarray(extractor.describe([pair[k] for pair in views]), np.float32) for k in (0, 1))
        return np.mean(np.argmax(a @ b.T, axis=1) == np.arange(len(views)))

    assert recall(trained) >= 0.8 > recall(untrained) + 0.2
