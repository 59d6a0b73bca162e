"""Top-down deformable aggregator: 13 regions sampled where a learned field moves them, pooled and fused upwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.config import Reading, StudentConfig
from vpr_ros.student.regions import RegionGrid, interpolation_matrix, sample_tokens

MAX_OFFSET = 0.25
GEM_EPS = 1e-6
MEAN_FLOOR = 1e-18
GLOBAL_RECORD = (0.5, 0.5, 1.0, 1.0)
GLOBAL_FIELD = (0.0, 0.0, 1.0, 1.0)


class OffsetGenerator(nn.Module):
    """Two pointwise layers on [map; class vector] -> (dx, dy, raw sx, raw sy) for every patch.

    The class vector is the same everywhere, so its half of the first layer is computed once per image and added.
    """

    def __init__(self, dim: int, hidden: int, reading: Reading) -> None:
        super().__init__()
        self.first = nn.Linear(2 * dim, hidden)
        self.second = nn.Linear(hidden, 4)
        if reading != "released":
            # start from undeformed regions
            nn.init.zeros_(self.second.weight)
            with torch.no_grad():
                self.second.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 1.0]) * float(reading == "paper"))

    def forward(self, patches: Tensor, class_vector: Tensor) -> Tensor:
        """(B, N, dim), (B, dim) -> (B, N, 4)."""
        dim = patches.shape[2]
        per_image = F.linear(class_vector, self.first.weight[:, dim:], self.first.bias)
        return self.second(F.relu(F.linear(patches, self.first.weight[:, :dim]) + per_image[:, None]))


def bottleneck(dim: int, hidden: int, dropout: float) -> nn.Sequential:
    """dim -> hidden -> dim with norm, GELU and dropout."""
    return nn.Sequential(
        nn.Linear(dim, hidden), nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
    )


class FixedRegions(nn.Module):
    """Class vector + 4 medium + 9 small regions, sampled where they lie and pooled with one shared exponent."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.grid = RegionGrid(config.medium_samples, config.small_samples)
        self.p = nn.Parameter(torch.full((1,), 3.0))
        self._matrices: dict[tuple[tuple[int, int], torch.device, torch.dtype], Tensor] = {}

    def at_points(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps (B, h*w, C) -> their values at the base points of all regions (B, P, C)."""
        key = (grid, maps.device, maps.dtype)
        if key not in self._matrices:
            # a tensor made in inference mode could not be used by a later training step
            with torch.inference_mode(False):
                points = self.reading_points().double().clone()
                self._matrices[key] = interpolation_matrix(points, grid).to(maps.dtype)
        return self._matrices[key] @ maps

    def reading_points(self) -> Tensor:
        """Points (P, 2) that `at_points` reads: the base points."""
        return self.grid.points

    def pool(self, samples: Tensor) -> Tensor:
        """Sampled vectors (B, P, dim) -> generalised means of the regions (B, 13, dim); one shared exponent."""
        samples = F.normalize(samples, dim=2)
        if self.pooling == "gem":
            return self._root(self.grid.average @ self._power(samples.clamp(min=GEM_EPS)))
        # the two signs apart: the power mean of signed values has unbounded gradients where it crosses zero
        powers = self._power(samples.abs().clamp(min=GEM_EPS))
        positive = self.grid.average @ (powers * (samples > 0))
        negative = self.grid.average @ (powers * (samples < 0))
        return self._root(positive.clamp(min=MEAN_FLOOR)) - self._root(negative.clamp(min=MEAN_FLOOR))

    def _power(self, values: Tensor) -> Tensor:
        return torch.exp(self.p * torch.log(values))

    def _root(self, means: Tensor) -> Tensor:
        return torch.exp(torch.log(means) / self.p)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, dim) with the class vector first -> (B, 14, dim): global, 4 medium, 9 small."""
        with torch.autocast(tokens.device.type, enabled=False):
            # powers of values down to 1e-6 do not survive half precision
            tokens = tokens.to(torch.promote_types(tokens.dtype, torch.float32))
            return torch.cat([tokens[:, :1], self.pool(self.at_points(tokens[:, 1:], grid))], dim=1)


class Aggregator(FixedRegions):
    """Class vector + 4 medium + 9 small deformed regions -> 14 vectors with position embeddings (equations 4 to 11).

    The offset field is computed once and all regions are sampled in one call; `StudentConfig.reading` says where the
    accounts of the method differ.
    """

    global_record: Tensor
    global_field: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.reading = config.reading
        self.offsets = OffsetGenerator(config.dim, config.offset_hidden, config.reading)
        self.small_to_medium = bottleneck(config.dim, config.fusion_hidden, config.fusion_dropout)
        self.medium_to_global = bottleneck(config.dim, config.fusion_hidden, config.fusion_dropout)
        self.position: nn.Sequential | nn.Linear
        if config.reading == "paper":
            self.position = nn.Linear(4, config.dim)
        else:
            self.position = nn.Sequential(
                nn.Linear(4, config.position_hidden), nn.ReLU(), nn.Linear(config.position_hidden, config.dim)
            )
        self.register_buffer("global_record", torch.tensor(GLOBAL_RECORD), persistent=False)
        self.register_buffer("global_field", torch.tensor(GLOBAL_FIELD), persistent=False)

    def reading_points(self) -> Tensor:
        """Points (P, 2) at which the offset field is read."""
        # the published weights read coordinate u at (u+1)/2: only the lower-right quarter of the field
        return (self.grid.points + 1) / 2 if self.reading == "released" else self.grid.points

    def read_field(self, field: Tensor, grid: tuple[int, int]) -> Tensor:
        """Field (B, h*w, 4) -> its values at the base points of all regions (B, P, 4)."""
        return self.at_points(field, grid)

    def deform(self, values: Tensor) -> Tensor:
        """Field values at the base points (B, P, 4) -> sampling points (B, P, 2) as (x, y) fractions of the map."""
        offset, raw = values[..., :2], values[..., 2:]
        centre, size, relative = self.grid.centre, self.grid.size, self.grid.relative
        if self.reading == "paper":
            return centre + (relative * raw + offset) * size / 2
        scale = 0.5 + 1.5 * torch.sigmoid(raw) if self.reading == "released" else torch.exp2(torch.tanh(raw))
        moved = centre + relative * scale * size / 2 + offset.clamp(-MAX_OFFSET, MAX_OFFSET) * size
        return moved.clamp(0, 1)

    def fuse(self, class_vector: Tensor, pooled: Tensor, points: Tensor) -> Tensor:
        """Class vector (B, dim), regions (B, 13, dim), sampling points (B, P, 2) -> 14 vectors (B, 14, dim)."""
        medium, small = pooled[:, :4], pooled[:, 4:]
        if self.reading == "paper":
            centres = self.grid.average @ points
            nearest = torch.cdist(centres[:, :4], centres[:, 4:]).topk(4, dim=2, largest=False).indices
            chosen = nearest[..., None].expand(-1, -1, -1, small.shape[2])
            neighbours = small[:, None].expand(-1, 4, -1, -1).gather(2, chosen).mean(dim=2)
        else:
            neighbours = small[:, self.grid.neighbours].mean(dim=2)
        refined = medium + self.small_to_medium(neighbours)
        whole = class_vector + self.medium_to_global(refined.mean(dim=1))
        # the published code throws the refined medium vectors away
        returned = medium if self.reading == "released" else refined
        return torch.cat([whole[:, None], returned, small], dim=1)

    def positions(self, points: Tensor, values: Tensor) -> Tensor:
        """Position embeddings (B, 14, dim) from sampling points (B, P, 2); in the paper from field values (B, P, 4)."""
        if self.reading == "paper":
            regions, whole = self.grid.average @ values, self.global_field
        else:
            spread = points[:, self.grid.members]
            extent = spread.amax(dim=2) - spread.amin(dim=2)
            regions, whole = torch.cat([self.grid.average @ points, extent], dim=2), self.global_record
        return self.position(torch.cat([whole.expand(points.shape[0], 1, 4).to(regions.dtype), regions], dim=1))

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, dim) with the class vector first -> (B, 14, dim): global, 4 medium, 9 small."""
        class_vector, patches = tokens[:, 0], tokens[:, 1:]
        with torch.autocast(tokens.device.type, enabled=False):
            # coordinates, and powers of values down to 1e-6, do not survive half precision
            full = torch.promote_types(tokens.dtype, torch.float32)
            class_vector, patches = class_vector.to(full), patches.to(full)
            values = self.read_field(self.offsets(patches, class_vector), grid)
            points = self.deform(values)
            pooled = self.pool(sample_tokens(patches, grid, points))
            return self.fuse(class_vector, pooled, points) + self.positions(points, values)
