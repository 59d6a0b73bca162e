"""Vision transformer of the student: DINOv2's ViT through timm, with adapters and tapped blocks."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.adapters import AdaptedBlock
from vpr_ros.student.config import StudentConfig, check_image_size
from vpr_ros.student.trunks.timm_library import VisionTransformer

RESIZE_MARGIN = 0.1


class ConvStem(nn.Module):
    """Small convolutional patch embedding for training from scratch: 3x3 stride 2, 3x3, then one patch per kernel."""

    def __init__(self, channels: tuple[int, int], width: int, patch_size: int) -> None:
        super().__init__()
        first, second = channels
        half = patch_size // 2
        self.conv1 = nn.Conv2d(3, first, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(second)
        self.proj = nn.Conv2d(second, width, half, stride=half)

    def reset_parameters(self) -> None:
        for conv in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.kaiming_normal_(self.proj.weight, nonlinearity="linear")
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/patch, W/patch)."""
        # channels last, so that cutting the map into patches is one copy and the projection one matrix product
        x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu(self.norm1(self.conv1(x)), inplace=True)
        x = F.relu(self.norm2(self.conv2(x)), inplace=True).permute(0, 2, 3, 1)
        side = self.proj.kernel_size[0]
        rows, cols, channels = x.shape[1] // side, x.shape[2] // side, x.shape[3]
        patches = x.reshape(-1, rows, side, cols, side, channels).transpose(2, 3).flatten(3)
        weight = self.proj.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches, weight, self.proj.bias).permute(0, 3, 1, 2)


class PatchStem(nn.Module):
    """The transformer's own linear patch embedding."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def reset_parameters(self) -> None:
        nn.init.trunc_normal_(self.proj.weight, std=self.proj.weight[0].numel() ** -0.5)
        nn.init.zeros_(self.proj.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, width, H/patch, W/patch)."""
        return self.proj(x)


class Backbone(nn.Module):
    """Patch embedding, class token, position embedding and adapted blocks; no final norm (recovery has its own).

    `mask_token` is unused here; it is a parameter because DINOv2's weights and the published counts have it.
    """

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.patch_size, self.taps, self.reading = config.patch_size, config.taps, config.reading
        self.position_grid = config.position_grid
        block = partial(AdaptedBlock, adapter_width=config.adapter_width, adapter_scale=config.adapter_scale)
        vit = VisionTransformer(
            img_size=tuple(side * config.patch_size for side in config.position_grid),  # type: ignore[arg-type]
            patch_size=config.patch_size,
            embed_dim=config.width,
            depth=config.depth,
            num_heads=config.heads,
            mlp_ratio=config.mlp_ratio,
            init_values=config.layer_scale_init or None,
            num_classes=0,
            global_pool="",
            final_norm=False,
            block_fn=block,  # type: ignore[arg-type]
            norm_layer=partial(nn.LayerNorm, eps=1e-6),  # type: ignore[arg-type]
            weight_init="skip",
        )
        self.patch_embed = (
            ConvStem(config.stem_channels, config.width, config.patch_size)
            if config.stem == "conv"
            else PatchStem(config.width, config.patch_size)
        )
        self.cls_token: nn.Parameter = vit.cls_token  # type: ignore[assignment]
        self.pos_embed: nn.Parameter = vit.pos_embed  # type: ignore[assignment]
        self.mask_token = nn.Parameter(torch.zeros(1, config.width), requires_grad=False)
        self.blocks = nn.ModuleList(vit.blocks)
        self.reset_parameters(config)

    def reset_parameters(self, config: StudentConfig) -> None:
        """Linear layers truncated normal (std 0.02), zero biases; adapters start as the zero function."""
        self.patch_embed.reset_parameters()
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for block in self.blocks:
            assert isinstance(block, AdaptedBlock)
            for module in block.modules():
                if isinstance(module, nn.Linear):
                    nn.init.trunc_normal_(module.weight, std=0.02)
                    nn.init.zeros_(module.bias)
            if block.adapter is not None:
                block.adapter.reset_parameters(config.adapter_init)

    def positions(self, grid: tuple[int, int]) -> Tensor:
        """Position embedding (1, 1+h*w, width) for a patch grid, resampled bicubically where it is another one."""
        stored = self.pos_embed
        if grid == self.position_grid:
            return stored
        rows, cols = self.position_grid
        image = stored[:, 1:].reshape(1, rows, cols, -1).permute(0, 3, 1, 2).float()
        if self.reading == "released":
            # the published weights saw positions sampled at scale factors with a margin: step 37/16.1, not 37/16
            scale = ((grid[0] + RESIZE_MARGIN) / rows, (grid[1] + RESIZE_MARGIN) / cols)
            image = F.interpolate(image, scale_factor=scale, mode="bicubic", align_corners=False)
        else:
            image = F.interpolate(image, size=grid, mode="bicubic", align_corners=False)
        patches = image.permute(0, 2, 3, 1).reshape(1, grid[0] * grid[1], -1).to(stored.dtype)
        return torch.cat([stored[:, :1], patches], dim=1)

    def grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches in images of a size (height, width)."""
        return size[0] // self.patch_size, size[1] // self.patch_size

    def bake_positions(self, size: tuple[int, int]) -> None:
        """Keep the position embedding as images of a size (height, width) need it; for inference only."""
        grid = self.grid_of(size)
        with torch.no_grad():
            baked = self.positions(grid)
        self.pos_embed, self.position_grid = nn.Parameter(baked, requires_grad=False), grid

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """(B, 3, H, W) -> tokens (B, 1+h*w, width) with the class token first, and the patch grid (h, w)."""
        check_image_size((x.shape[2], x.shape[3]), self.patch_size)
        patches = self.patch_embed(x)
        grid = (patches.shape[2], patches.shape[3])
        positions = self.positions(grid)
        patches = patches.flatten(2).transpose(1, 2) + positions[:, 1:]
        first = (self.cls_token + positions[:, :1]).expand(x.shape[0], -1, -1)
        return torch.cat([first.to(patches.dtype), patches], dim=1), grid

    def forward(self, x: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """(B, 3, H, W) -> residual streams (B, 1+h*w, width) after each tapped block, and the patch grid (h, w).

        Raises VprError when a side is not a multiple of the patch size.
        """
        tokens, grid = self.embed(x)
        tapped: list[Tensor] = []
        for number, block in enumerate(self.blocks, start=1):
            tokens = block(tokens, grid)
            if number in self.taps:
                tapped.append(tokens)
        return tapped, grid
