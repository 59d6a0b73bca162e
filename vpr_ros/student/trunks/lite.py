"""EfficientNet-Lite, the trunk of the shipped network, in plain PyTorch: it needs neither timm nor torchvision.

Written from Tan and Le, "EfficientNet" (2019), and the description of its Lite variants: no squeeze and excitation,
ReLU6, and first and last stage as wide and deep as in the smallest. Entries of the state dict have timm's names, and
padding is TensorFlow's, from which the published weights come: where a step of 2 leaves an odd rest, the additional row
or column is on the far side.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.catalogue.names import LITE_PREFIX

# (width, depth) of each size
SCALES = {f"{LITE_PREFIX}{i}": s for i, s in enumerate(((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)))}
STEM, HEAD, CLASSES = 32, 1280, 1000
# (kernel, step, expansion, channels, blocks) of each stage, before width and depth are scaled
STAGES = (
    *((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3)),
    *((5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1)),
)
EPS = 1e-3  # of batch norms


class Conv(nn.Conv2d):
    """A convolution without bias that keeps the size, or divides it by its step."""

    def __init__(self, channels: int, out: int, kernel: int, step: int = 1, groups: int = 1) -> None:
        self.kernel, self.step = kernel, step
        padding = kernel // 2 if step == 1 else 0
        super().__init__(  # pyright: ignore[reportUnknownMemberType]  # torch's own types
            channels, out, kernel, step, padding, groups=groups, bias=False
        )

    def reset_parameters(self) -> None:
        if self.weight.is_meta:
            return  # only shapes are wanted, and a random number without a place costs an import of torch._dynamo
        fan_out = self.kernel_size[0] * self.kernel_size[1] * self.out_channels // self.groups
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))

    def forward(self, input: Tensor) -> Tensor:
        if self.step > 1:
            rows, columns = (self._missing(side) for side in input.shape[-2:])
            input = F.pad(input, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(input)

    def _missing(self, side: int) -> int:
        return max((math.ceil(side / self.step) - 1) * self.step + self.kernel - side, 0)


class Norm(nn.BatchNorm2d):
    """Batch norm, with ReLU6 behind it unless `act` is off."""

    def __init__(self, channels: int, act: bool = True) -> None:
        super().__init__(channels, EPS)  # pyright: ignore[reportUnknownMemberType]  # torch's own types
        self.act = act

    def forward(self, input: Tensor) -> Tensor:
        out = super().forward(input)
        return F.relu6(out, inplace=True) if self.act else out


class Separable(nn.Module):
    """A convolution per channel, then one across channels."""

    def __init__(self, channels: int, out: int, kernel: int, step: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = Conv(channels, channels, kernel, step, groups=channels), Norm(channels)
        self.conv_pw, self.bn2 = Conv(channels, out, 1), Norm(out, act=False)
        self.skips = step == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H / step, W / step)."""
        y = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return y + x if self.skips else y


class Inverted(nn.Module):
    """More channels, a convolution of each, and back to few: the residual's narrow ends are outside."""

    def __init__(self, channels: int, out: int, kernel: int, step: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.conv_pw, self.bn1 = Conv(channels, wide, 1), Norm(wide)
        self.conv_dw, self.bn2 = Conv(wide, wide, kernel, step, groups=wide), Norm(wide)
        self.conv_pwl, self.bn3 = Conv(wide, out, 1), Norm(out, act=False)
        self.skips = step == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, out, H / step, W / step)."""
        y = self.bn1(self.conv_pw(x))
        y = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(y))))
        return y + x if self.skips else y


class EfficientNetLite(nn.Module):
    """The whole network of a name in `SCALES`; trunks take its stem and blocks."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = Conv(3, STEM, 3, 2), Norm(STEM)
        stages: list[nn.Module] = []
        channels = STEM
        for kernel, step, expansion, out, count in scaled(name):
            blocks: list[nn.Module] = []
            for block in range(count):
                size = (channels, out, kernel, step if block == 0 else 1)
                blocks.append(Separable(*size) if expansion == 1 else Inverted(*size, expansion))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2 = Conv(channels, HEAD, 1), Norm(HEAD)
        self.classifier = nn.Linear(HEAD, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1000), the classes of ImageNet."""
        x = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(x)))))
        return self.classifier(torch.flatten(x.mean((2, 3)), 1))


def scaled(name: str) -> list[tuple[int, int, int, int, int]]:
    """(kernel, step, expansion, channels, blocks) of each stage of a name in `SCALES`."""
    width, depth = SCALES[name]
    counts = [math.ceil(count * depth) for *_, count in STAGES]
    counts[0], counts[-1] = STAGES[0][-1], STAGES[-1][-1]
    return [
        (kernel, step, expansion, rounded(channels * width), count)
        for (kernel, step, expansion, channels, _), count in zip(STAGES, counts, strict=True)
    ]


def stages_of_lite(name: str) -> list[tuple[int, int]]:
    """(channels, pixels a side that a position spans) of each stage of a name in `SCALES`."""
    found, stride = list[tuple[int, int]](), 2
    for _, step, _, channels, _ in scaled(name):
        stride *= step
        found.append((channels, stride))
    return found


def rounded(channels: float) -> int:
    """The multiple of 8 nearest to a number of channels, and not less than nine tenths of it."""
    found = max(8, int(channels + 4) // 8 * 8)
    return found + 8 if found < 0.9 * channels else found
