"""Top-down deformable aggregator: regions sampled where a learned field moves them, pooled and fused upwards."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vpr_ros.student.config import Reading, StudentConfig
from vpr_ros.student.precision import at_least_float32, without_autocast
from vpr_ros.student.regions import (
    PAPER_LEVELS,
    RegionGrid,
    cell_regions,
    interpolation_matrix,
    paper_regions,
    sample_tokens,
)

MAX_OFFSET = 0.25
GEM_EPS = 1e-6
MEAN_FLOOR = 1e-18
GLOBAL_RECORD = (0.5, 0.5, 1.0, 1.0)
GLOBAL_FIELD = (0.0, 0.0, 1.0, 1.0)
LEVEL_NAMES = {2: ("medium", "small")}  # as in the paper; other numbers of levels are numbered
_Map = tuple[tuple[int, int], torch.device, torch.dtype]


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
    """Class vector + regions of every level, sampled where they lie and pooled with one shared exponent."""

    def __init__(self, config: StudentConfig) -> None:
        super().__init__()
        self.pooling, self.levels, self.has_whole = config.pooling, config.regions, config.whole_region
        # the paper's regions do not depend on the number of tokens, cells do
        self.grid = (
            RegionGrid(paper_regions(config.medium_samples, config.small_samples), config.regions)
            if config.regions == PAPER_LEVELS
            else None
        )
        if config.pooling != "mean":
            self.p = nn.Parameter(torch.full((1,), 3.0))
        self._cells: dict[_Map, RegionGrid] = {}
        self._matrices: dict[_Map, Tensor] = {}
        self.baked: Tensor | None
        self.register_buffer("baked", None, persistent=False)

    def bake(self, grid: tuple[int, int]) -> None:
        """Keep as buffers what maps of one grid (h, w) need, and look nothing up any more; for inference."""
        like = next(self.parameters(), torch.empty(0))
        maps = torch.empty(1, grid[0] * grid[1], 1, device=like.device)
        self.grid, self.baked = self.geometry(maps, grid), self._matrix(maps, grid)
        self._cells.clear()
        self._matrices.clear()

    def geometry(self, maps: Tensor, grid: tuple[int, int]) -> RegionGrid:
        """The regions on maps (B, h*w, C) of a grid (h, w), of their type and on their device."""
        if self.grid is not None:
            return self.grid
        key = (grid, maps.device, maps.dtype)
        if key not in self._cells:
            # a tensor made in inference mode could not be used by a later training step
            with torch.inference_mode(False):
                self._cells[key] = RegionGrid(cell_regions(self.levels, grid), self.levels).to(maps.device, maps.dtype)
        return self._cells[key]

    def at_points(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        """Maps (B, h*w, C) -> their values at the base points of all regions (B, P, C)."""
        return self._matrix(maps, grid) @ maps

    def _matrix(self, maps: Tensor, grid: tuple[int, int]) -> Tensor:
        if self.baked is not None:
            return self.baked
        key = (grid, maps.device, maps.dtype)
        if key not in self._matrices:
            with torch.inference_mode(False):
                geometry = self.geometry(maps, grid)
                matrix = interpolation_matrix(self.reading_points(geometry).double().clone(), grid)
                self._matrices[key] = self._reading(matrix, geometry).to(maps.dtype)
        return self._matrices[key]

    def reading_points(self, geometry: RegionGrid) -> Tensor:
        """Points (P, 2) that `at_points` reads: the base points."""
        return geometry.points

    def _reading(self, matrix: Tensor, geometry: RegionGrid) -> Tensor:
        """What `at_points` multiplies by: for plain means the regions' means at once, (R, h*w) for (P, h*w)."""
        return geometry.average.double() @ matrix if self.pooling == "mean" else matrix

    def pool(self, samples: Tensor, geometry: RegionGrid) -> Tensor:
        """Sampled vectors (B, P, dim) -> generalised means of the regions (B, R, dim); one shared exponent."""
        if self.pooling == "mean":
            return geometry.average @ samples
        samples = F.normalize(samples, dim=2)
        if self.pooling == "gem":
            return self._root(geometry.average @ self._power(samples.clamp(min=GEM_EPS)))
        # the two signs apart: the power mean of signed values has unbounded gradients where it crosses zero
        powers = self._power(samples.abs().clamp(min=GEM_EPS))
        positive = geometry.average @ (powers * (samples > 0))
        negative = geometry.average @ (powers * (samples < 0))
        return self._root(positive.clamp(min=MEAN_FLOOR)) - self._root(negative.clamp(min=MEAN_FLOOR))

    def _power(self, values: Tensor) -> Tensor:
        return torch.exp(self.p * torch.log(values))

    def _root(self, means: Tensor) -> Tensor:
        return torch.exp(torch.log(means) / self.p)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, dim) with the class vector first -> (B, R, dim): the class vector, then the levels.

        `StudentConfig.whole_region` says whether the class vector is among them.
        """
        with without_autocast(tokens.device.type):
            # powers of values down to 1e-6 do not survive half precision
            tokens = at_least_float32(tokens)
            patches = tokens[:, 1:]
            regions = self.at_points(patches, grid)
            if self.pooling != "mean":
                regions = self.pool(regions, self.geometry(patches, grid))
            return torch.cat([tokens[:, :1], regions], dim=1) if self.has_whole else regions


class Aggregator(FixedRegions):
    """Class vector + deformed regions of every level -> vectors with position embeddings (equations 4 to 11).

    The offset field is computed once and all regions are sampled in one call; `StudentConfig.reading` says where the
    accounts of the method differ. On a trunk everything that is added to the regions starts at zero, so that an
    untrained aggregator gives what `FixedRegions` gives.
    """

    global_record: Tensor
    global_field: Tensor

    def __init__(self, config: StudentConfig) -> None:
        super().__init__(config)
        self.reading = config.reading
        self.offsets = OffsetGenerator(config.dim, config.offset_hidden, config.reading)
        names = LEVEL_NAMES.get(len(self.levels)) or [f"level{number}" for number in range(len(self.levels))]
        targets = ["global", *names] if self.has_whole else list(names)
        # from the finest level upwards, into the next coarser one each time
        self.fusions = [f"{finer}_to_{coarser}" for coarser, finer in zip(targets[:-1], targets[1:], strict=True)][::-1]
        for name in self.fusions:
            self.add_module(name, bottleneck(config.dim, config.fusion_hidden, config.fusion_dropout))
        self.position: nn.Sequential | nn.Linear
        if config.reading == "paper":
            self.position = nn.Linear(4, config.dim)
        else:
            self.position = nn.Sequential(
                nn.Linear(4, config.position_hidden), nn.ReLU(), nn.Linear(config.position_hidden, config.dim)
            )
        if config.is_trunk:
            for name in [*self.fusions, "position"]:
                *_, last = self.get_submodule(name).children()
                assert isinstance(last, nn.Linear)
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.register_buffer("global_record", torch.tensor(GLOBAL_RECORD), persistent=False)
        self.register_buffer("global_field", torch.tensor(GLOBAL_FIELD), persistent=False)

    def reading_points(self, geometry: RegionGrid) -> Tensor:
        """Points (P, 2) at which the offset field is read."""
        # the published weights read coordinate u at (u+1)/2: only the lower-right quarter of the field
        return (geometry.points + 1) / 2 if self.reading == "released" else geometry.points

    def _reading(self, matrix: Tensor, geometry: RegionGrid) -> Tensor:
        return matrix

    def read_field(self, field: Tensor, grid: tuple[int, int]) -> Tensor:
        """Field (B, h*w, 4) -> its values at the base points of all regions (B, P, 4)."""
        return self.at_points(field, grid)

    def deform(self, values: Tensor, geometry: RegionGrid) -> Tensor:
        """Field values at the base points (B, P, 4) -> sampling points (B, P, 2) as (x, y) fractions of the map."""
        offset, raw = values[..., :2], values[..., 2:]
        centre, size, relative = geometry.centre, geometry.size, geometry.relative
        if self.reading == "paper":
            return centre + (relative * raw + offset) * size / 2
        scale = 0.5 + 1.5 * torch.sigmoid(raw) if self.reading == "released" else torch.exp2(torch.tanh(raw))
        moved = centre + relative * scale * size / 2 + offset.clamp(-MAX_OFFSET, MAX_OFFSET) * size
        return moved.clamp(0, 1)

    def fuse(self, class_vector: Tensor, pooled: Tensor, points: Tensor, geometry: RegionGrid) -> Tensor:
        """Class vector (B, dim), regions (B, R, dim), points (B, P, 2) -> vectors (B, R or 1+R, dim).

        Each level is refined by the finer one below it, from the finest upwards, and the class vector by the coarsest.
        """
        levels = torch.split(pooled, geometry.counts, dim=1)
        centres = torch.split(geometry.average @ points, geometry.counts, dim=1) if self.reading == "paper" else ()
        refined, returned = levels[-1], [levels[-1]]
        for number in reversed(range(len(levels) - 1)):
            plain = levels[number]
            if self.reading == "paper":
                nearest = torch.cdist(centres[number], centres[number + 1]).topk(4, dim=2, largest=False).indices
                chosen = nearest[..., None].expand(-1, -1, -1, refined.shape[2])
                spread = refined[:, None].expand(-1, plain.shape[1], -1, -1)
                neighbours = spread.gather(2, chosen).mean(dim=2)
            else:
                neighbours = refined[:, geometry.neighbours(number)].mean(dim=2)
            refined = plain + self.get_submodule(self.fusions[len(levels) - 2 - number])(neighbours)
            # the published code throws the refined medium vectors away
            returned.insert(0, plain if self.reading == "released" else refined)
        if self.has_whole:
            whole = class_vector + self.get_submodule(self.fusions[-1])(refined.mean(dim=1))
            returned.insert(0, whole[:, None])
        return torch.cat(returned, dim=1)

    def positions(self, points: Tensor, values: Tensor, geometry: RegionGrid) -> Tensor:
        """Position embeddings of the vectors that `fuse` returns, from sampling points (B, P, 2); in the paper from
        field values (B, P, 4)."""
        if self.reading == "paper":
            regions, whole = geometry.average @ values, self.global_field
        else:
            spread = points[:, geometry.members]
            extent = spread.amax(dim=2) - spread.amin(dim=2)
            regions, whole = torch.cat([geometry.average @ points, extent], dim=2), self.global_record
        if self.has_whole:
            regions = torch.cat([whole.expand(points.shape[0], 1, 4).to(regions.dtype), regions], dim=1)
        return self.position(regions)

    def forward(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, 1+h*w, dim) with the class vector first -> as `FixedRegions.forward`."""
        class_vector, patches = tokens[:, 0], tokens[:, 1:]
        with without_autocast(tokens.device.type):
            # coordinates, and powers of values down to 1e-6, do not survive half precision
            class_vector, patches = at_least_float32(class_vector), at_least_float32(patches)
            geometry = self.geometry(patches, grid)
            values = self.read_field(self.offsets(patches, class_vector), grid)
            points = self.deform(values, geometry)
            pooled = self.pool(sample_tokens(patches, grid, points), geometry)
            vectors = self.fuse(class_vector, pooled, points, geometry)
            return vectors + self.positions(points, values, geometry)
