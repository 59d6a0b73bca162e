"""Published teacher checkpoints (METHODS 1.12, 3.8, 4.6, 5) as tables of names and shapes, filled with numbers."""

import math

import torch


class Table(dict):
    """Name -> shape."""

    def layer(self, name, *shape, bias=True):
        self[f"{name}.weight"] = shape
        if bias:
            self[f"{name}.bias"] = (shape[0],)

    def norm(self, name, width):
        self[f"{name}.weight"] = self[f"{name}.bias"] = (width,)

    def batch_norm(self, name, width):
        self.norm(name, width)
        self[f"{name}.running_mean"] = self[f"{name}.running_var"] = (width,)
        self[f"{name}.num_batches_tracked"] = ()


def cloud_table(dim, norms="bn", laterals="conv1x1"):
    t, b = Table(), "cloud_fe.backbone."
    t[f"{b}conv0.kernel"] = (125, 1, 32)
    t.batch_norm(f"{b}bn0.bn", 32)
    for level, (before, planes) in enumerate(((32, 32), (32, 64), (64, 64))):
        t[f"{b}convs.{level}.kernel"] = (8, before, before)
        t.batch_norm(f"{b}{norms}.{level}.bn", before)
        block = f"{b}blocks.{level}.0."
        t[f"{block}conv1.kernel"] = (27, before, planes)
        t[f"{block}conv2.kernel"] = (27, planes, planes)
        t.batch_norm(f"{block}norm1.bn", planes)
        t.batch_norm(f"{block}norm2.bn", planes)
        t[f"{block}eca.conv.weight"] = (1, 1, 3)
    t[f"{b}blocks.1.0.downsample.0.kernel"] = (32, 64)
    t.batch_norm(f"{b}blocks.1.0.downsample.1.bn", 64)
    t[f"{b}tconvs.0.kernel"] = (8, dim, dim)
    t[f"{b}{laterals}.0.kernel"] = t[f"{b}{laterals}.1.kernel"] = (64, dim)
    t["cloud_fe.pooling.pooling.p"] = (1,)
    return t


def resnet_table(conv1, bn1, stages, classifier=False):
    """torchvision's ResNet-18 with the given names of stem and stages."""
    t, before = Table(), 64
    t.layer(conv1, 64, 3, 7, 7, bias=False)
    t.batch_norm(bn1, 64)
    for stage, planes in zip(stages, (64, 128, 256, 512), strict=False):
        for block in range(2):
            name = f"{stage}.{block}"
            t.layer(f"{name}.conv1", planes, before, 3, 3, bias=False)
            t.batch_norm(f"{name}.bn1", planes)
            t.layer(f"{name}.conv2", planes, planes, 3, 3, bias=False)
            t.batch_norm(f"{name}.bn2", planes)
            if before != planes:
                t.layer(f"{name}.downsample.0", planes, before, 1, 1, bias=False)
                t.batch_norm(f"{name}.downsample.1", planes)
            before = planes
    if classifier:
        t.layer(classifier, 1000, 512)
    return t


def image_table(dim):
    t = resnet_table("image_fe.resnet_fe.0", "image_fe.resnet_fe.1", [f"image_fe.resnet_fe.{i}" for i in (4, 5, 6)])
    t.layer("image_fe.fh_conv1x1.4", dim, 256, 1, 1)
    t["image_fe.pool.p"] = (1,)
    return t


def distil_image_table(dim, prefix=""):
    p = prefix
    stages = [f"{p}model.layer{i}" for i in (1, 2, 3, 4)]
    t = resnet_table(f"{p}model.conv1", f"{p}model.bn1", stages, f"{p}model.fc")
    t.layer(f"{p}conv1x1", dim, 256, 1, 1)
    t[f"{p}image_gem.p"] = t[f"{p}imagecosplace.gem.p"] = (1,)
    t.layer(f"{p}imagecosplace.fc", dim, dim)
    t.layer(f"{p}imageconvap.channel_pool", dim, dim, 1, 1)
    t[f"{p}imagenetvlad.centroids"] = (64, dim)
    t.layer(f"{p}imagenetvlad.conv", 64, dim, 1, 1, bias=False)
    return t


def adafusion_table():
    t = Table()
    for stage, widths in {
        "v_feature1": {0: (3, 64), 2: (64, 64), 5: (64, 64), 7: (64, 64)},
        "v_feature2": {0: (64, 64), 2: (64, 64), 4: (64, 128), 6: (128, 128)},
        "v_feature3": {0: (128, 128), 2: (128, 128), 4: (128, 128), 6: (128, 128)},
        "l_feature1": {0: (1, 32), 2: (32, 32)},
        "l_feature2": {0: (32, 64), 2: (64, 64), 4: (64, 64), 6: (64, 64)},
        "l_feature3": {0: (64, 128), 2: (128, 128)},
    }.items():
        kernel = (3, 3) if stage[0] == "v" else (3, 3, 3)
        for number, (before, after) in widths.items():
            t.layer(f"{stage}.{number}", after, before, *kernel)
    t.batch_norm("v_feature3.8", 128)
    t.batch_norm("l_feature3.4", 128)
    for letter, widths, one, three in (("v", (64, 128, 128), (1, 1), (3, 3)), ("l", (32, 64, 128), (1,) * 3, (3,) * 3)):
        for scale, width in enumerate(widths, start=1):
            t.layer(f"{letter}_attention_pos{scale}.qkv_conv", 24, width, *three)
            t.layer(f"{letter}_attention_chn{scale}.bottleneck", 16, width, *one)
        t.layer(f"{letter}_atten_fusion.0", 128, 96, *one)
        t.batch_norm(f"{letter}_atten_fusion.1", 128)
    for number, after, before in ((0, 64, 256), (2, 32, 64), (4, 2, 32)):
        t.layer(f"vl_atten_fusion.{number}", after, before)
    return t


def cricavpr_table(width=768, depth=12, hidden=2048):
    t = Table({"backbone.cls_token": (1, 1, width), "backbone.pos_embed": (1, 1370, width)})
    t["backbone.mask_token"], neck = (1, width), width // 2
    t.layer("backbone.patch_embed.proj", width, 3, 14, 14)
    for block in range(depth):
        b = f"backbone.blocks.{block}"
        t.norm(f"{b}.norm1", width)
        t.norm(f"{b}.norm2", width)
        t.layer(f"{b}.attn.qkv", 3 * width, width)
        t.layer(f"{b}.attn.proj", width, width)
        t.layer(f"{b}.mlp.fc1", 4 * width, width)
        t.layer(f"{b}.mlp.fc2", width, 4 * width)
        t[f"{b}.ls1.gamma"] = t[f"{b}.ls2.gamma"] = (width,)
        t.layer(f"{b}.adapter.D_fc1", neck, width)
        t.layer(f"{b}.adapter.D_fc2", width, neck)
        for branch, *shape in (
            ("branch1", neck // 2, neck, 1, 1),
            ("branch2.0", neck // 16, neck, 1, 1),
            ("branch2.1", neck // 4, neck // 16, 3, 3),
            ("branch3.0", neck // 16, neck, 1, 1),
            ("branch3.1", neck // 4, neck // 16, 5, 5),
        ):
            t.layer(f"{b}.adapter.{branch}.conv", *shape)
            t.batch_norm(f"{b}.adapter.{branch}.bn", shape[0])
    t.norm("backbone.norm", width)
    t["aggregation.1.p"] = (1,)
    for layer in range(2):
        e = f"encoder.layers.{layer}"
        t[f"{e}.self_attn.in_proj_weight"], t[f"{e}.self_attn.in_proj_bias"] = (3 * width, width), (3 * width,)
        t.layer(f"{e}.self_attn.out_proj", width, width)
        t.layer(f"{e}.linear1", hidden, width)
        t.layer(f"{e}.linear2", width, hidden)
        t.norm(f"{e}.norm1", width)
        t.norm(f"{e}.norm2", width)
    return t


def filled(table, seed=0):
    """Random numbers of sensible size for every entry: weights keep the scale of what passes, norms are uneven."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in table.items():
        last = name.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            state[name] = torch.tensor(7)
            continue
        value = torch.randn(shape, generator=generator)
        if last == "running_var" or (last == "weight" and len(shape) == 1) or last == "gamma":
            value = value.abs() * 0.3 + 0.6
        elif last == "p":
            value = value.abs() * 0.2 + 2.5
        elif last == "kernel":
            value = value * math.sqrt(2 / math.prod(shape[:-1]))
        elif len(shape) > 1 and last not in ("cls_token", "pos_embed"):
            value = value * math.sqrt(2 / math.prod(shape[1:]))
        else:
            value = value * 0.2
        state[name] = value
    return state


def marked(table):
    """Every entry full of its own number (stored once, cheap at any size); counters stay counters."""
    return {
        name: torch.tensor(7) if name.endswith("num_batches_tracked") else torch.tensor(float(i)).expand(shape)
        for i, (name, shape) in enumerate(table.items(), start=1)
    }
