"""Image branch of MinkLoc++ and of DistilVPR's students: ResNet up to layer3, 1x1 convolution, GeM."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.errors import VprError
from vpr_ros.student.trunks.timm_library import BasicBlock
from vpr_ros.tensor_files import fill, read_tensors, without_shared_prefix
from vpr_ros.training.teachers.pooling import GeM

BLOCKS = {18: (2, 2, 2), 34: (3, 4, 6)}
UNUSED = ("layer4.", "fc.")


class ResNetTrunk(nn.Module):
    """ResNet-18 or -34 without its last stage and classifier; entries are named as torchvision and timm name them."""

    def __init__(self, depth: int = 18, planes: tuple[int, int, int] = (64, 128, 256)) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise VprError(f"a ResNet of depth {depth} is not known: choose one of {', '.join(map(str, BLOCKS))}.")
        self.conv1 = nn.Conv2d(3, planes[0], 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(planes[0])
        one, two, three = BLOCKS[depth]
        self.layer1 = _stage(planes[0], planes[0], one, 1)
        self.layer2 = _stage(planes[0], planes[1], two, 2)
        self.layer3 = _stage(planes[1], planes[2], three, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, planes[2], H/16, W/16), sides rounded up."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        return self.layer3(self.layer2(self.layer1(x)))

    def load_imagenet(self, path: str | Path) -> None:
        """Load the weights of an ImageNet classifier of the same depth, as torchvision or timm store it.

        Its last stage and classifier are left out. VprError when the file is not such a classifier.
        """
        state, _ = read_tensors(path)
        used = {key: value for key, value in without_shared_prefix(state).items() if not key.startswith(UNUSED)}
        fill(self, used, path, "ResNet trunk")


def _stage(before: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    projection = None
    if stride != 1 or before != planes:
        projection = nn.Sequential(nn.Conv2d(before, planes, 1, stride=stride, bias=False), nn.BatchNorm2d(planes))
    first = BasicBlock(before, planes, stride=stride, downsample=projection)
    return nn.Sequential(first, *(BasicBlock(planes, planes) for _ in range(blocks - 1)))


class ImageBranch(nn.Module):
    """METHODS section 4.2: (B, 3, H, W) -> (B, D). The publication calls it an FPN; it has no top-down path."""

    def __init__(self, dim: int, depth: int = 18, planes: tuple[int, int, int] = (64, 128, 256)) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(depth, planes)
        self.reduce = nn.Conv2d(planes[2], dim, 1)
        self.pool = GeM()

    def forward(self, images: Tensor) -> Tensor:
        """Normalised RGB (B, 3, H, W) -> (B, D), not of unit length."""
        return self.pool(self.reduce(self.trunk(images)))
