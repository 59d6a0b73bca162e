"""`vpr_ros export --local-features`: a checkpoint stays as it is and learns how local features are weighed."""

from command_line import assert_sentence, run

from vpr_ros.student import DescriptorExtractor
from vpr_ros.training.export import validation_drives


def test_a_checkpoint_learns_how_local_features_are_weighed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(validation_drives, "MOST_COMPARED", 200)
    out = tmp_path / "weighed.safetensors"
    result = run("export", "nano", "--local-features", "sift", "--validation", folder, "-o", out)
    assert result.exit_code == 0, result.output
    assert "local features of the kind sift are weighed" in result.output
    before, after = (DescriptorExtractor.from_checkpoint(one) for one in ("nano", out))
    assert before.fingerprint == after.fingerprint
    local = after.calibration.pop("local")
    before.calibration.pop("local", None)
    assert before.calibration == after.calibration
    assert local["kind"] == "sift" and len(local["evidence"]["map"]["knots"]) == 10


def test_what_cannot_be_weighed_is_said(folder, tmp_path):
    out = tmp_path / "weighed.safetensors"
    assert_sentence(run("export", "nano", "--local-features", "sift", "-o", out), "name them with --validation")
    result = run("export", "nano", "--local-features", "orb", "--validation", folder, "-o", out)
    assert_sentence(result, "choose xfeat or sift")
