"""Teachers written again from METHODS' formulas, one voxel, pixel and token at a time, on published state dicts."""

import math

import numpy as np
import torch
from torch.nn import functional as F


def softmax(values):
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def gem(vectors, p, eps=1e-6):
    """Vectors (N, C) -> (C,), one by one."""
    total = np.zeros(len(vectors[0]))
    for vector in vectors:
        total += np.maximum(vector, eps) ** p
    return (total / len(vectors)) ** (1 / p)


def channel_attention(means, weight):
    """ECA: 1-D convolution of the channel means with zeros beyond both ends, then a sigmoid."""
    reach, out = len(weight) // 2, []
    for c in range(len(means)):
        value = 0.0
        for k, w in enumerate(weight):
            at = c + k - reach
            if 0 <= at < len(means):
                value += w * means[at]
        out.append(1 / (1 + math.exp(-value)))
    return np.array(out)


class Cloud:
    """The sparse branch of MinkLoc++ on dictionaries {voxel: vector}, in float64."""

    def __init__(self, state, prefix="cloud_fe.backbone.", norms="bn", laterals="conv1x1"):
        self.s = {k: v.double().numpy() for k, v in state.items() if k.startswith("cloud_fe.")}
        self.b, self.norms, self.laterals = prefix, norms, laterals

    @staticmethod
    def offsets(size, step):
        start = -(size // 2) if size % 2 else 0
        values = range(start, start + size)
        # the first axis runs fastest
        return [(x * step, y * step, z * step) for z in values for y in values for x in values]

    def conv(self, x, name, size, step=1, stride=1):
        kernel, grid, out = self.s[f"{self.b}{name}.kernel"], step * stride, {}
        for u in sorted({tuple(c // grid * grid for c in voxel) for voxel in x}):
            out[u] = np.zeros(kernel.shape[-1])
            for k, offset in enumerate(self.offsets(size, step)):
                near = tuple(a + b for a, b in zip(u, offset, strict=True))
                if near in x:
                    out[u] += x[near] @ kernel[k]
        return out

    def pointwise(self, x, name):
        return {u: v @ self.s[f"{self.b}{name}.kernel"] for u, v in x.items()}

    def norm(self, x, name, relu=True):
        w, b, m, var = (self.s[f"{self.b}{name}.bn.{e}"] for e in ("weight", "bias", "running_mean", "running_var"))
        y = {u: (v - m) / np.sqrt(var + 1e-5) * w + b for u, v in x.items()}
        return {u: np.maximum(v, 0) for u, v in y.items()} if relu else y

    def block(self, x, level, step):
        name = f"blocks.{level}.0"
        y = self.norm(self.conv(x, f"{name}.conv1", 3, step), f"{name}.norm1")
        y = self.norm(self.conv(y, f"{name}.conv2", 3, step), f"{name}.norm2", relu=False)
        scale = channel_attention(sum(y.values()) / len(y), self.s[f"{self.b}{name}.eca.conv.weight"][0, 0])
        if f"{self.b}{name}.downsample.0.kernel" in self.s:
            x = self.norm(self.pointwise(x, f"{name}.downsample.0"), f"{name}.downsample.1", relu=False)
        return {u: np.maximum(v * scale + x[u], 0) for u, v in y.items()}

    def embed(self, points, voxel):
        """(N, 3) float32 -> (D,)."""
        cells = np.floor(points / np.float32(voxel)).astype(int)
        x = {tuple(map(int, cell)): np.ones(1) for cell in cells}
        x = self.norm(self.conv(x, "conv0", 5), "bn0")
        levels = []
        for level, step in enumerate((1, 2, 4)):
            x = self.norm(self.conv(x, f"convs.{level}", 2, step, 2), f"{self.norms}.{level}")
            x = self.block(x, level, 2 * step)
            levels.append(x)
        coarse, fine = self.pointwise(levels[2], f"{self.laterals}.0"), self.pointwise(levels[1], f"{self.laterals}.1")
        kernel = self.s[f"{self.b}tconvs.0.kernel"]
        for u in fine:
            for k, offset in enumerate(self.offsets(2, 4)):
                above = tuple(a - b for a, b in zip(u, offset, strict=True))
                if above in coarse:
                    fine[u] = fine[u] + coarse[above] @ kernel[k]
        return gem(list(fine.values()), self.s["cloud_fe.pooling.pooling.p"][0])


def adafusion(s, image, voxels):
    """One image (3, H, W) and one grid (1, X, Y, Z) -> (256,)."""

    def stage(x, name, conv, pool):
        numbers = sorted({int(k.split(".")[1]) for k in s if k.startswith(name + ".")})
        for number in numbers:
            layer = {k.split(".")[2]: v for k, v in s.items() if k.startswith(f"{name}.{number}.")}
            if "running_mean" in layer:
                x = F.batch_norm(x, layer["running_mean"], layer["running_var"], layer["weight"], layer["bias"])
            else:
                x = F.relu(conv(x, layer["weight"], layer["bias"], padding=1))
            if name == "v_feature1" and number == numbers[1]:
                x = pool(x, 2)  # the only stage that is pooled in its middle too
        return pool(x, 2)

    def position(x, name, conv, stride):
        maps = conv(x, s[f"{name}.weight"], s[f"{name}.bias"], padding=1, stride=stride)[0]
        flat = maps.flatten(1)
        q, k, v = flat[:4], flat[4:8], flat[8:]
        out = torch.zeros_like(v)
        for i in range(flat.shape[1]):
            weights = softmax([float(q[:, i] @ k[:, j]) / 2 for j in range(flat.shape[1])])
            for j, weight in enumerate(weights):
                out[:, i] += weight * v[:, j]
        return out.view(16, *maps.shape[1:])

    def channel(x, name, conv):
        flat, out = x[0].flatten(1), torch.zeros_like(x[0].flatten(1))
        for i in range(len(flat)):
            for j, weight in enumerate(softmax([float(flat[i] @ flat[j]) for j in range(len(flat))])):
                out[i] += weight * flat[j]
        return conv(out.view_as(x), s[f"{name}.weight"], s[f"{name}.bias"])[0]

    def nearest(x, size):
        out = torch.zeros(len(x), *size)
        for index in np.ndindex(*size):
            source = tuple(math.floor(i * n / m) for i, n, m in zip(index, x.shape[1:], size, strict=True))
            out[(slice(None), *index)] = x[(slice(None), *source)]
        return out

    pooled, attended = [], []
    for letter, x, conv, pool in (
        ("v", image[None], F.conv2d, F.max_pool2d),
        ("l", voxels[None], F.conv3d, F.avg_pool3d),
    ):
        positions, channels = [], []
        for scale, stride in ((1, 2), (2, 2), (3, 1)):
            x = stage(x, f"{letter}_feature{scale}", conv, pool)
            positions.append(position(x, f"{letter}_attention_pos{scale}.qkv_conv", conv, stride))
            channels.append(channel(x, f"{letter}_attention_chn{scale}.bottleneck", conv))
        joined = torch.cat([nearest(m, positions[2].shape[1:]) for m in positions + channels])
        name = f"{letter}_atten_fusion"
        joined = conv(joined[None], s[f"{name}.0.weight"], s[f"{name}.0.bias"])
        joined = F.relu(
            F.batch_norm(joined, *(s[f"{name}.1.{e}"] for e in ("running_mean", "running_var", "weight", "bias")))
        )
        pooled.append(x[0].flatten(1).mean(1))
        attended.append(joined[0].flatten(1).mean(1))
    h = torch.cat(attended)
    for number in (0, 2, 4):
        h = s[f"vl_atten_fusion.{number}.weight"] @ h + s[f"vl_atten_fusion.{number}.bias"]
        h = F.relu(h) if number < 4 else torch.sigmoid(h)
    return torch.cat([h[0] * pooled[0], h[1] * pooled[1]])


def cricavpr(s, images, heads, encoder_heads, encoder=True, cuts=((0, 8), (0, 5, 11))):
    """Images (B, 3, H, W) -> (B, 14 * width), from a published CricaVPR state dict of any width."""
    s = {k: v.double() for k, v in s.items()}
    depth = len({k.split(".")[2] for k in s if k.startswith("backbone.blocks.")})
    regions = torch.stack([_cricavpr_regions(s, image.double(), heads, depth, cuts) for image in images])
    if encoder:
        for layer in range(2):
            regions = torch.stack(
                [_encoder(s, f"encoder.layers.{layer}", regions[:, i], encoder_heads) for i in range(14)], 1
            )
    flat = regions.flatten(1)
    return flat / flat.norm(dim=1, keepdim=True)


def _layer_norm(s, name, x, eps):
    mean = x.mean(-1, keepdim=True)
    return (x - mean) / ((x - mean) ** 2).mean(-1, keepdim=True).add(eps).sqrt() * s[f"{name}.weight"] + s[
        f"{name}.bias"
    ]


def _attend(q, k, v, heads):
    """(N, D) each -> (N, D): every head and every query by itself."""
    out, size = torch.zeros_like(q), q.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(len(q)):
            weights = torch.softmax(k[:, part] @ q[i, part] / math.sqrt(size), 0)
            out[i, part] = weights @ v[:, part]
    return out


def _encoder(s, name, x, heads):
    """Post-norm layer over the images of the batch: (B, D) -> (B, D)."""
    qkv = x @ s[f"{name}.self_attn.in_proj_weight"].T + s[f"{name}.self_attn.in_proj_bias"]
    y = F.linear(
        _attend(*qkv.chunk(3, 1), heads), s[f"{name}.self_attn.out_proj.weight"], s[f"{name}.self_attn.out_proj.bias"]
    )
    x = _layer_norm(s, f"{name}.norm1", x + y, 1e-5)
    y = F.gelu(F.linear(x, s[f"{name}.linear1.weight"], s[f"{name}.linear1.bias"]))
    y = F.linear(y, s[f"{name}.linear2.weight"], s[f"{name}.linear2.bias"])
    return _layer_norm(s, f"{name}.norm2", x + y, 1e-5)


def _adapter(s, prefix, z, grid):
    def norm(x, name):
        e = {k: s[f"{prefix}{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        return F.relu(F.batch_norm(x, e["running_mean"], e["running_var"], e["weight"], e["bias"], eps=1e-3))

    def conv(x, name, pad=0):
        x = F.conv2d(x, s[f"{prefix}{name}.conv.weight"], s[f"{prefix}{name}.conv.bias"], padding=pad)
        return norm(x, f"{name}.bn")

    a = F.relu(F.linear(z, s[f"{prefix}D_fc1.weight"], s[f"{prefix}D_fc1.bias"]))
    m = a[1:].T.reshape(1, -1, *grid)
    parts = [conv(m, "branch1"), conv(conv(m, "branch2.0"), "branch2.1", 1), conv(conv(m, "branch3.0"), "branch3.1", 2)]
    out = torch.cat([2 * a[:1], a[1:] + torch.cat(parts, 1)[0].flatten(1).T])
    return F.linear(out, s[f"{prefix}D_fc2.weight"], s[f"{prefix}D_fc2.bias"])


def _cricavpr_regions(s, image, heads, depth, cuts):
    """One image (3, H, W) -> (14, D)."""
    patches = F.conv2d(
        image[None], s["backbone.patch_embed.proj.weight"], s["backbone.patch_embed.proj.bias"], stride=14
    )
    rows, cols = patches.shape[2:]
    stored = s["backbone.pos_embed"]
    table = stored[:, 1:].reshape(1, 37, 37, -1).permute(0, 3, 1, 2)
    scale = ((rows + 0.1) / 37, (cols + 0.1) / 37)
    table = F.interpolate(table, scale_factor=scale, mode="bicubic", align_corners=False)
    tokens = [s["backbone.cls_token"][0, 0] + stored[0, 0]]
    for row in range(rows):
        for col in range(cols):
            tokens.append(patches[0, :, row, col] + table[0, :, row, col])
    x = torch.stack(tokens)
    for block in range(depth):
        b = f"backbone.blocks.{block}"
        qkv = F.linear(_layer_norm(s, f"{b}.norm1", x, 1e-6), s[f"{b}.attn.qkv.weight"], s[f"{b}.attn.qkv.bias"])
        y = F.linear(_attend(*qkv.chunk(3, 1), heads), s[f"{b}.attn.proj.weight"], s[f"{b}.attn.proj.bias"])
        x = x + s[f"{b}.ls1.gamma"] * y
        z = _layer_norm(s, f"{b}.norm2", x, 1e-6)
        y = F.gelu(F.linear(z, s[f"{b}.mlp.fc1.weight"], s[f"{b}.mlp.fc1.bias"]))
        y = F.linear(y, s[f"{b}.mlp.fc2.weight"], s[f"{b}.mlp.fc2.bias"])
        x = x + s[f"{b}.ls2.gamma"] * (y + 0.2 * _adapter(s, f"{b}.adapter.", z, (rows, cols)))
    x = _layer_norm(s, "backbone.norm", x, 1e-6)
    return torch.stack([x[0], *cricavpr_cells(x[1:], (rows, cols), float(s["aggregation.1.p"]), cuts)])


def cricavpr_cells(patches, grid, p, cuts):
    """(h*w, D) tokens, row by row -> the 4 and 9 region vectors."""
    out = []
    for starts in cuts:
        for top, bottom in zip(starts, [*starts[1:], grid[0]], strict=True):
            for left, right in zip(starts, [*starts[1:], grid[1]], strict=True):
                inside = [patches[r * grid[1] + c].double() for r in range(top, bottom) for c in range(left, right)]
                out.append(torch.from_numpy(gem([(v / v.norm()).numpy() for v in inside], p)))
    return out
