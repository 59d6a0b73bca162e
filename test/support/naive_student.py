"""The aggregator and published key layout, written again from the method's formulas, one point at a time."""

import torch
from torch.nn import functional as F

CUTS = (0.0, 5 / 16, 11 / 16, 1.0)


def regions(medium, small):
    for row in range(2):
        for col in range(2):
            yield col / 2, row / 2, col / 2 + 0.5, row / 2 + 0.5, medium, medium
    for row in range(3):
        for col in range(3):
            yield CUTS[col], CUTS[row], CUTS[col + 1], CUTS[row + 1], small[row], small[col]


def read(image, x, y):
    """(C, h, w) at pixel (x, y), bilinear, border padding."""
    height, width = image.shape[1:]
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    x0, y0 = int(x), int(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    top = image[:, y0, x0] * (1 - (x - x0)) + image[:, y0, x1] * (x - x0)
    bottom = image[:, y1, x0] * (1 - (x - x0)) + image[:, y1, x1] * (x - x0)
    return top * (1 - (y - y0)) + bottom * (y - y0)


def gem(samples, p, pooling):
    samples = torch.stack([v / v.norm() for v in samples])
    if pooling == "gem":
        return samples.clamp(min=1e-6).pow(p).mean(0).pow(1 / p)
    return samples.clamp(min=0).pow(p).mean(0).pow(1 / p) - (-samples).clamp(min=0).pow(p).mean(0).pow(1 / p)


def aggregate(aggregator, config, tokens, grid):
    """One image: tokens (1+h*w, D) -> (14, D)."""
    height, width = grid
    whole, patches = tokens[0], tokens[1:].T.reshape(-1, height, width)
    p = aggregator.p.item()
    pooled, records, centres = [], [], []
    for x1, y1, x2, y2, rows, cols in regions(config.medium_samples, config.small_samples):
        # the offset field again for every region, as the published code does
        both = torch.cat([patches, whole[:, None, None].expand(-1, height, width)])
        generator = aggregator.offsets
        hidden = F.relu(F.conv2d(both[None], generator.first.weight[:, :, None, None], generator.first.bias))
        field = F.conv2d(hidden, generator.second.weight[:, :, None, None], generator.second.bias)[0]
        samples, xs, ys, values = [], [], [], []
        for row in range(rows):
            for col in range(cols):
                u = x1 + (x2 - x1) * col / (cols - 1)
                v = y1 + (y2 - y1) * row / (rows - 1)
                at = [(c + 1) / 2 if config.reading == "released" else c for c in (u, v)]
                dx, dy, sx, sy = read(field, at[0] * (width - 1), at[1] * (height - 1)).tolist()
                cx, cy, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
                rx, ry = (u - cx) / (w / 2), (v - cy) / (h / 2)
                if config.reading == "paper":
                    x, y = cx + (rx * sx + dx) * w / 2, cy + (ry * sy + dy) * h / 2
                else:
                    raw = torch.tensor([sx, sy], dtype=torch.float64)
                    scale = 0.5 + 1.5 / (1 + (-raw).exp()) if config.reading == "released" else 2 ** torch.tanh(raw)
                    x = cx + rx * scale[0].item() * w / 2 + min(max(dx, -0.25), 0.25) * w
                    y = cy + ry * scale[1].item() * h / 2 + min(max(dy, -0.25), 0.25) * h
                    x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
                samples.append(read(patches, x * (width - 1), y * (height - 1)))
                xs.append(x)
                ys.append(y)
                values.append([dx, dy, sx, sy])
        pooled.append(gem(samples, p, config.pooling))
        centres.append((sum(xs) / len(xs), sum(ys) / len(ys)))
        records.append([*centres[-1], max(xs) - min(xs), max(ys) - min(ys)])
        if config.reading == "paper":
            records[-1] = torch.tensor(values, dtype=torch.float64).mean(0).tolist()
    medium, small = pooled[:4], pooled[4:]
    refined = []
    for index in range(4):
        if config.reading == "paper":
            (mx, my) = centres[index]
            order = sorted(range(9), key=lambda i: (centres[4 + i][0] - mx) ** 2 + (centres[4 + i][1] - my) ** 2)
            near = order[:4]
        else:
            corner = (index // 2) * 3 + index % 2
            near = [corner, corner + 1, corner + 3, corner + 4]
        refined.append(medium[index] + aggregator.small_to_medium(sum(small[i] for i in near) / 4))
    first = whole + aggregator.medium_to_global(sum(refined) / 4)
    vectors = [first, *(medium if config.reading == "released" else refined), *small]
    start = [0.0, 0.0, 1.0, 1.0] if config.reading == "paper" else [0.5, 0.5, 1.0, 1.0]
    table = torch.tensor([start, *records], dtype=torch.float64)
    return torch.stack(vectors) + aggregator.position(table)


def published_keys(encoder):
    """Names and shapes of the released D2-VPR state dict."""
    shapes = {
        "backbone.cls_token": (1, 1, 384),
        "backbone.pos_embed": (1, 1370, 384),
        "backbone.mask_token": (1, 384),
        "backbone.patch_embed.proj.weight": (384, 3, 14, 14),
        "backbone.patch_embed.proj.bias": (384,),
        "aggregation.1.p": (1,),
    }

    def linear(name, *shape):
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = shape, (shape[0],)

    def norm(name, width):
        shapes[f"{name}.weight"] = shapes[f"{name}.bias"] = (width,)

    for block in range(12):
        b = f"backbone.blocks.{block}"
        norm(f"{b}.norm1", 384)
        norm(f"{b}.norm2", 384)
        linear(f"{b}.attn.qkv", 1152, 384)
        linear(f"{b}.attn.proj", 384, 384)
        linear(f"{b}.mlp.fc1", 1536, 384)
        linear(f"{b}.mlp.fc2", 384, 1536)
        shapes[f"{b}.ls1.gamma"] = shapes[f"{b}.ls2.gamma"] = (384,)
        linear(f"{b}.adapter.D_fc1", 192, 384)
        linear(f"{b}.adapter.D_fc2", 384, 192)
        for branch, *shape in (
            ("branch1", 96, 192, 1, 1),
            ("branch2.0", 12, 192, 1, 1),
            ("branch2.1", 48, 12, 3, 3),
            ("branch3.0", 12, 192, 1, 1),
            ("branch3.1", 48, 12, 5, 5),
        ):
            linear(f"{b}.adapter.{branch}.conv", *shape)
            norm(f"{b}.adapter.{branch}.bn", shape[0])
            shapes[f"{b}.adapter.{branch}.bn.running_mean"] = (shape[0],)
            shapes[f"{b}.adapter.{branch}.bn.running_var"] = (shape[0],)
            shapes[f"{b}.adapter.{branch}.bn.num_batches_tracked"] = ()
    linear("backbone.lin", 768, 1536)
    norm("backbone.up_norm", 768)
    linear("offset_generator.0", 512, 1536, 1, 1)
    linear("offset_generator.2", 4, 512, 1, 1)
    for net in ("small_to_medium", "medium_to_global"):
        linear(f"topdown_fusion.{net}.0", 256, 768)
        norm(f"topdown_fusion.{net}.1", 256)
        linear(f"topdown_fusion.{net}.4", 768, 256)
    linear("pos_encoder.fc.0", 128, 4)
    linear("pos_encoder.fc.2", 768, 128)
    if encoder:
        for layer in range(2):
            e = f"encoder.layers.{layer}"
            shapes[f"{e}.self_attn.in_proj_weight"], shapes[f"{e}.self_attn.in_proj_bias"] = (2304, 768), (2304,)
            linear(f"{e}.self_attn.out_proj", 768, 768)
            linear(f"{e}.linear1", 2048, 768)
            linear(f"{e}.linear2", 768, 2048)
            norm(f"{e}.norm1", 768)
            norm(f"{e}.norm2", 768)
    return shapes


def published_state(encoder=False, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in published_keys(encoder).items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        else:
            state[key] = torch.randn(shape, generator=generator) * 0.05
            if key.endswith(("running_var", "norm1.weight", "norm2.weight", "up_norm.weight", "bn.weight", "gamma")):
                state[key] = state[key].abs() + 0.5
    state["aggregation.1.p"] = torch.tensor([3.0])
    return state


def published_adapter(state, prefix, z, grid):
    """The adapter from published tensors, branch by branch: z (1+N, 384) -> (1+N, 384)."""

    def norm(x, name):
        s = {k: state[f"{prefix}{name}.{k}"] for k in ("weight", "bias", "running_mean", "running_var")}
        return F.relu(F.batch_norm(x, s["running_mean"], s["running_var"], s["weight"], s["bias"], eps=1e-3))

    def conv(x, name, pad=0):
        x = F.conv2d(x, state[f"{prefix}{name}.conv.weight"], state[f"{prefix}{name}.conv.bias"], padding=pad)
        return norm(x, f"{name}.bn")

    a = F.relu(F.linear(z, state[f"{prefix}D_fc1.weight"], state[f"{prefix}D_fc1.bias"]))
    m = a[1:].T.reshape(1, -1, *grid)
    parts = [conv(m, "branch1"), conv(conv(m, "branch2.0"), "branch2.1", 1), conv(conv(m, "branch3.0"), "branch3.1", 2)]
    out = torch.cat([2 * a[:1], a[1:] + torch.cat(parts, 1)[0].flatten(1).T])
    return F.linear(out, state[f"{prefix}D_fc2.weight"], state[f"{prefix}D_fc2.bias"])
