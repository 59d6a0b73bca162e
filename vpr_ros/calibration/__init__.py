"""How probabilities are fitted: labelled drives in, a Calibration out. A robot only reads the result."""

from vpr_ros.calibration.fitting import fit_calibration
from vpr_ros.calibration.labelling import LabelledSequence, hide_stretch, self_matches
from vpr_ros.calibration.splitting import split_matches

__all__ = ["LabelledSequence", "fit_calibration", "hide_stretch", "self_matches", "split_matches"]
