#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The refinement network and its two steps in plain PyTorch.

This is the oracle that the C engine is measured against, and the yardstick
of its speed. It favours being read over being fast.

Tensors are NCHW, float32. `image` is 1x3xHxW, normalised (see
`normalise`); `mask`, `seg` and `coarse` are 1x1xHxW in [-1, 1]; a
probability is 1x1xHxW in [0, 1]. A *logit* is what goes into the sigmoid.

Two variants of everything around the network exist, see `VARIANTS`.

    reference.py golden DIR                          check the golden values
    reference.py bench --widths published            time the three levels
    reference.py write-random --widths s OUT.safetensors
"""

import argparse
import collections
import dataclasses
import json
import math
import os
import statistics
import sys
import time

import numpy
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import checkpoint
import safetensors_io

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

EXPANSION = 4  # outputs of a bottleneck per plane
POOLS = (1, 2, 3, 6)  # sides of the pyramid's grids
# of the numbers in a weight file
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
COUNTER = ".num_batches_tracked"  # of batch norms, of no use but in training

OVERLAP = 32  # of neighbouring crops, beyond one half, in pixels
TRIM = 16  # cut from a crop's inner sides
FOREGROUND = (0.1, 0.9)  # share of foreground that makes a crop worthwhile


# ---------------------------------------------------------------- network


@dataclasses.dataclass(frozen=True)
class Widths:
    """What distinguishes one refinement module from another."""

    stem: int
    planes: tuple  # of the four backbone layers
    blocks: tuple  # of the four backbone layers
    psp: int
    up: tuple  # of up_1, up_2, up_3
    heads: tuple  # hidden channels of final_28, final_56, final_11

    @classmethod
    def of(cls, tensors):
        """Read the widths off the tensor shapes of a state dict."""

        def rows(layer):
            name = layer + ".weight"
            if name not in tensors:
                raise ValueError(f"tensor {name} is missing")
            shape = list(tensors[name].shape)
            if len(shape) != 4 or 0 in shape:
                raise ValueError(f"tensor {name}: expected shape [channels, "
                                 f"channels, kernel, kernel], found {shape}")
            return shape[0]

        def count(layer):
            prefix = f"feats.layer{layer}."
            return len({name[len(prefix):].split(".")[0]
                        for name in tensors if name.startswith(prefix)})

        return cls(
            stem=rows("feats.conv1"),
            planes=tuple(rows(f"feats.layer{i}.0.conv1") for i in range(1, 5)),
            blocks=tuple(count(i) for i in range(1, 5)),
            psp=rows("psp.bottleneck"),
            up=tuple(rows(f"up_{i}.shortcut") for i in range(1, 4)),
            heads=tuple(map(rows, ("final_28.0", "final_56.0", "final_11"))),
        )

    @classmethod
    def parse(cls, text):
        """Read `NAME` of `WIDTHS` or 'stem=8,planes=8/16/24/32,...'."""
        if text in WIDTHS:
            return WIDTHS[text]
        fields = dict(field.split("=") for field in text.split(","))
        values = {key: tuple(map(int, value.split("/")))
                  for key, value in fields.items()}
        for key in ("stem", "psp"):
            values[key], = values[key]
        return cls(**values)


WIDTHS = {
    "published": Widths(64, (64, 128, 256, 512), (3, 4, 6, 3), 1024,
                        (512, 256, 32), (32, 32, 32)),
    "mini": Widths(8, (8, 16, 24, 32), (3, 4, 6, 3), 48,
                   (24, 16, 8), (8, 8, 8)),
    "xs": Widths(12, (12, 24, 36, 48), (2, 2, 3, 2), 64,
                 (40, 20, 10), (12, 12, 12)),
    "s": Widths(16, (16, 32, 48, 64), (2, 3, 4, 2), 96,
                (64, 32, 16), (16, 16, 16)),
    "small": Widths(16, (16, 32, 64, 96), (2, 3, 4, 2), 128,
                    (64, 32, 16), (16, 16, 16)),
    "m": Widths(24, (24, 48, 72, 96), (3, 4, 6, 3), 144,
                (96, 48, 16), (24, 24, 24)),
}


class Conv(nn.Conv2d):
    """A convolution that can round input, weights and output to `storage`.

    The sums stay in float32, as in the matrix units of a GPU or CPU.
    """

    storage = torch.float32

    def forward(self, x):
        def stored(tensor):
            return tensor.to(self.storage).to(torch.float32)

        if self.storage is torch.float32:
            return super().forward(x)
        return stored(
            self._conv_forward(stored(x), stored(self.weight), self.bias))


def resize(x, size):
    """Bilinear resize to `size` = (H, W): half-pixel centres."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def enlarge(x, factor):
    """Bilinear resize by a whole factor: half-pixel centres."""
    return resize(x, [side * factor for side in x.shape[-2:]])


class Bottleneck(nn.Module):
    """Residual block, `channels` -> EXPANSION * `planes`."""

    def __init__(self, channels, planes, stride, dilation):
        super().__init__()
        outputs = EXPANSION * planes
        self.conv1 = Conv(channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = Conv(planes, planes, 3, stride, padding=dilation,
                          dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = Conv(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or channels != outputs:
            self.downsample = nn.Sequential(
                Conv(channels, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (self.downsample(x) if self.downsample else x))


class Backbone(nn.Module):
    """Dilated residual network, 6 channels at 1 -> skips at 1/2, 1/4, 1/8."""

    STRIDES = (1, 2, 1, 1)
    DILATIONS = (1, 1, 2, 4)  # of all blocks of a layer but the first

    def __init__(self, widths):
        super().__init__()
        self.conv1 = Conv(6, widths.stem, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(widths.stem)
        channels = widths.stem
        for i in range(4):
            layer = []
            for block in range(widths.blocks[i]):
                layer.append(Bottleneck(
                    channels, widths.planes[i],
                    1 if block else self.STRIDES[i],
                    self.DILATIONS[i] if block else 1))
                channels = EXPANSION * widths.planes[i]
            self.add_module(f"layer{i + 1}", nn.Sequential(*layer))

    def forward(self, x):
        half = self.conv1(x)
        x = F.max_pool2d(F.relu(self.bn1(half)), 3, 2, padding=1)
        quarter = self.layer1(x)
        return half, quarter, self.layer4(self.layer3(self.layer2(quarter)))


class Pyramid(nn.Module):
    """Pyramid pooling: adds what grids of 1, 2, 3 and 6 cells see."""

    def __init__(self, channels, outputs):
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side),
                          Conv(channels, channels, 1, bias=False))
            for side in POOLS)
        self.bottleneck = Conv((len(POOLS) + 1) * channels, outputs, 1)

    def forward(self, x):
        parts = [resize(stage(x), x.shape[-2:]) for stage in self.stages]
        return F.relu(self.bottleneck(torch.cat(parts + [x], 1)))


class UpBlock(nn.Module):
    """Doubles the resolution of x and merges `skip` in."""

    def __init__(self, channels, skip, outputs):
        super().__init__()

        def pair(inputs):
            return nn.Sequential(
                nn.BatchNorm2d(inputs), nn.ReLU(),
                Conv(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs), nn.ReLU(),
                Conv(outputs, outputs, 3, padding=1))

        self.conv = pair(channels + skip)
        self.conv2 = pair(outputs)
        self.shortcut = Conv(channels, outputs, 1)

    def forward(self, x, skip):
        x = enlarge(x, 2)
        p = self.conv(torch.cat((x, skip), 1)) + self.shortcut(x)
        return p + self.conv2(p)


class RefinementModule(nn.Module):
    """One level of the cascade: six channels in, logits at 1/8, 1/4, 1."""

    def __init__(self, widths):
        super().__init__()
        self.widths = widths
        head8, head4, head1 = widths.heads
        layer1, *_, layer4 = (EXPANSION * p for p in widths.planes)
        up1, up2, up3 = widths.up

        def head(channels, hidden):
            return nn.Sequential(Conv(channels, hidden, 1), nn.ReLU(),
                                 Conv(hidden, 1, 1))

        self.feats = Backbone(widths)
        self.psp = Pyramid(layer4, widths.psp)
        self.up_1 = UpBlock(widths.psp, layer1, up1)
        self.up_2 = UpBlock(up1, widths.stem, up2)
        self.up_3 = UpBlock(up2, 3, up3)
        self.final_28 = head(widths.psp, head8)
        self.final_56 = head(up1, head4)
        self.final_11 = Conv(up3 + 3, head1, 1)
        self.final_21 = Conv(head1, 1, 1)

    def forward(self, image, masks, finest):
        """Return {8: logit, 4: logit, 1: logit} up to scale `finest`.

        `masks` is 1x3xHxW, H and W multiples of 8; the logit of scale n is
        1x1xH/nxW/n.
        """
        half, quarter, eighth = self.feats(torch.cat((image, masks), 1))
        x = self.psp(eighth)
        logits = {8: self.final_28(x)}
        if finest < 8:
            x = self.up_1(x, quarter)
            logits[4] = self.final_56(x)
        if finest < 4:
            x = self.up_3(self.up_2(x, half), image)
            x = F.relu(self.final_11(torch.cat((x, image), 1)))
            logits[1] = self.final_21(x)
        return logits


class WithoutData(TorchFunctionMode):
    """Within it, new tensors have a shape and a type but no data."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function in (torch.empty, torch.ones, torch.tensor, torch.zeros):
            kwargs = {**kwargs, "device": "meta"}
        return function(*args, **kwargs)


def check_tensors(tensors):
    """Raise ValueError unless it is a network's tensors, no more, no less.

    Their counters of batches, which only training uses, may be missing.
    """
    with WithoutData():
        expected = RefinementModule(Widths.of(tensors)).state_dict()
    for name, tensor in expected.items():
        shape = list(tensor.shape)
        if name not in tensors:
            if name.endswith(COUNTER):
                continue
            raise ValueError(f"tensor {name} is missing, expected shape "
                             f"{shape}")
        if list(tensors[name].shape) != shape:
            raise ValueError(f"tensor {name}: expected shape {shape}, found "
                             f"{list(tensors[name].shape)}")
    for name in tensors:
        if name not in expected:
            raise ValueError(f"tensor {name} is not part of the network")


def read_tensors(path):
    """Read a state dict: safetensors, or a PyTorch checkpoint (`.pth`)."""
    if path.endswith(".safetensors"):
        return safetensors_io.read(path)[0]
    return checkpoint.read(path)


def round_tensor(name, tensor, dtype):
    """Return a tensor rounded to `dtype`, to nearest."""
    if not tensor.is_floating_point():
        raise ValueError(f"tensor {name} holds no floating-point numbers")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"tensor {name} holds NaN or infinity")
    if name.endswith(".running_var") and tensor.min() < 0:
        raise ValueError(f"tensor {name} holds a negative variance")
    result = tensor.to(dtype)
    if not torch.isfinite(result).all():
        raise ValueError(
            f"tensor {name} holds {tensor.abs().max().item():g}, more than "
            f"the type's largest, {torch.finfo(dtype).max:g}")
    return result


def write_tensors(path, tensors, dtype):
    """Write a state dict for the element; `tensors` is changed on the way."""
    for name in list(tensors):
        tensor = tensors.pop(name)
        if not name.endswith(COUNTER):
            tensors[name] = round_tensor(name, tensor, dtype)
    safetensors_io.write(path, tensors, {"format": "pt"})


def load(path):
    """Return the refinement module stored in a weight file, ready to run."""
    tensors = read_tensors(path)
    module = RefinementModule(Widths.of(tensors))
    module.load_state_dict(tensors)
    return module.eval()


def random_module(widths, seed=0):
    """Return a module with random weights whose activations stay tame.

    He initialisation, damped where branches are added and in front of the
    logits; statistics of the batch norms in the range that training gives.
    Equal seeds, equal weights.
    """
    random = torch.Generator().manual_seed(seed)
    module = RefinementModule(widths)

    def fill(tensor, low, high):
        tensor.data.uniform_(low, high, generator=random)

    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            gain = 1.0
            if name.endswith(("conv.5", "conv2.5")) or part.out_channels == 1:
                gain = 0.4
            fan = part.weight[0].numel()
            part.weight.data.normal_(0, gain * math.sqrt(2 / fan),
                                     generator=random)
            if part.bias is not None:
                fill(part.bias, -0.1, 0.1)
        elif isinstance(part, nn.BatchNorm2d):
            gain = 0.3 if name.endswith("bn3") else 1.0
            fill(part.weight, 0.8 * gain, 1.2 * gain)
            fill(part.bias, -0.1, 0.1)
            fill(part.running_mean, -0.1, 0.1)
            fill(part.running_var, 0.8, 1.5)
    return module.eval()


def store_as(module, storage):
    """Make every convolution of `module` round to a 16-bit type."""
    for part in module.modules():
        if isinstance(part, Conv):
            part.storage = storage
    return module


# ---------------------------------------------------------------- cascade


def cascade(module, image, seg, coarse=None):
    """Run the three levels; with a `coarse` mask given, the last two only.

    H and W are multiples of 8. Returns one {scale: logit} for each level
    that ran, every logit enlarged to 1x1xHxW.
    """

    def level(mask8, mask4, finest):
        masks = torch.cat((seg, mask8, mask4), 1)
        logits = module(image, masks, finest)
        return {scale: enlarge(logit, scale)
                for scale, logit in logits.items()}

    levels = []
    if coarse is None:
        levels.append(level(seg, seg, 8))
        coarse = torch.tanh(levels[-1][8])
    levels.append(level(coarse, coarse, 4))
    s8, s4 = (torch.tanh(levels[-1][scale]) for scale in (8, 4))
    levels.append(level(s8, s4, 1))
    return levels


def predict(module, image, seg, coarse=None):
    """Run the cascade at any size; return the probabilities P1 and P4.

    Where a side is not a multiple of 8, *both* sides grow to the next larger
    multiple, at the right and the bottom: the image with 0 (the mean
    colour), masks with -1 (background).
    """
    height, width = seg.shape[-2:]
    padding = (0, 0, 0, 0)
    if height % 8 or width % 8:
        padding = (0, 8 - width % 8, 0, 8 - height % 8)
    image = F.pad(image, padding, value=0)
    seg = F.pad(seg, padding, value=-1)
    if coarse is not None:
        coarse = F.pad(coarse, padding, value=-1)
    last = cascade(module, image, seg, coarse)[-1]
    return tuple(torch.sigmoid(last[scale])[..., :height, :width]
                 for scale in (1, 4))


# ------------------------------------------------------- Global and Local


Variant = collections.namedtuple("Variant", "enlarges aligned")
VARIANTS = {
    # the released package: enlarges small inputs to L, and enlarges a
    # Global-only result with aligned corners
    "release": Variant(enlarges=True, aligned=True),
    # the paper's evaluation code: small inputs run at their own size
    "paper": Variant(enlarges=False, aligned=False),
}


def scale_to(x, size, mode):
    """Scale the long side of x to `size`; sides are rounded down.

    Coordinates are scaled with the ratio itself where `mode` interpolates.
    """
    ratio = size / max(x.shape[-2:])
    align = None if mode == "area" else False
    return F.interpolate(x, scale_factor=ratio, mode=mode,
                         align_corners=align)


def global_step(module, image, mask, size, variant):
    """Run the three levels at a long side of `size`; return P1 and P4."""
    side = max(mask.shape[-2:])
    if side > size:
        image = scale_to(image, size, "area")
        mask = scale_to(mask, size, "area")
    elif side < size and VARIANTS[variant].enlarges:
        image = scale_to(image, size, "bicubic")
        mask = scale_to(mask, size, "bilinear")
    return predict(module, image, mask)


def global_result(p1, shape, variant):
    """Resize P1 of the Global step to `shape` = (H, W), the fast result."""
    if max(p1.shape[-2:]) > max(shape):
        return F.interpolate(p1, shape, mode="area")
    return F.interpolate(p1, shape, mode="bilinear",
                         align_corners=VARIANTS[variant].aligned)


def crops(height, width, size):
    """Return the (top, bottom, left, right) of the Local step's crops.

    Column by column; the last of a row or column ends at the border.
    """

    def spans(length):
        step = size // 2 - OVERLAP
        last = max(length - size, 0)
        return [(start, min(start + size, length))
                for start in (*range(0, last, step), last)]

    return [rows + columns
            for columns in spans(width) for rows in spans(height)]


def local_step(module, image, p1, p4, size):
    """Refine the Global step's P1 and P4 crop by crop at full size."""
    height, width = image.shape[-2:]
    foreground = (resize(p1, (height, width)) > 0.5).float()
    seg = 2 * foreground - 1
    coarse = 2 * resize(p4, (height, width)) - 1
    total = torch.zeros_like(seg)
    count = torch.zeros_like(seg)
    low, high = FOREGROUND
    for top, bottom, left, right in crops(height, width, size):
        crop = (..., slice(top, bottom), slice(left, right))
        if not low <= foreground[crop].mean() <= high:
            continue
        result, _ = predict(module, image[crop], seg[crop], coarse[crop])
        rows = slice(TRIM if top > 0 else 0,
                     bottom - top - (TRIM if bottom < height else 0))
        columns = slice(TRIM if left > 0 else 0,
                        right - left - (TRIM if right < width else 0))
        total[crop][..., rows, columns] += result[..., rows, columns]
        count[crop][..., rows, columns] += 1
    return torch.where(count > 0, total / count, foreground)


@torch.no_grad()
def refine(module, image, mask, size, variant="release", local=True):
    """Refine a mask: the Global step at long side `size`, then the Local one.

    Returns the probability of foreground at full size. The reference runs
    the Local step wherever it is asked to, on small inputs too.
    """
    p1, p4 = global_step(module, image, mask, size, variant)
    if local:
        return local_step(module, image, p1, p4, size)
    return global_result(p1, mask.shape[-2:], variant)


def normalise(pixels):
    """Turn HxWx3 bytes, R G B, into a normalised image."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    return (image - mean) / std


def binarise(pixels):
    """Turn HxW bytes into a mask of -1 and +1."""
    return 2 * (torch.from_numpy(pixels)[None, None] > 127).float() - 1


def read_picture(path):
    """Read an image file as bytes, HxW or HxWx3."""
    return numpy.array(Image.open(path))


# ---------------------------------------------------------- golden values


# Largest error in `forward`, relative to the largest value of the tensor
# (absolute where that is below 1).
FORWARD_TOLERANCE = 1e-5
# In `cases`, the share of pixels that must be within the tolerance: a pixel
# whose Global probability is 0.5 to the last bit may fall either way.
CASE_TOLERANCE = 5e-4
CASE_SHARE = 0.9995
# What 16-bit storage is judged by.
COARSE_TOLERANCE = 8 / 255

Check = collections.namedtuple("Check", "name error share coarse passed")


def compare(name, result, golden):
    """Compare two tensors of one shape; NaN passes no check."""
    error = (result.reshape(golden.shape) - golden).abs()
    worst = error.max().item()
    share, coarse = ((error <= bound).float().mean().item()
                     for bound in (CASE_TOLERANCE, COARSE_TOLERANCE))
    if name.startswith("case"):
        passed = share >= CASE_SHARE
    else:
        passed = worst <= FORWARD_TOLERANCE * max(1, golden.abs().max())
    return Check(name, worst, share, coarse, bool(passed))


def check_forward(module, folder):
    """Yield a Check for each tensor of `forward.safetensors`."""
    golden, _ = safetensors_io.read(os.path.join(folder, "forward.safetensors"))
    image = golden["forward.image"]
    seg = golden["forward.seg"]
    results = dict(zip(
        ("feats.os2", "feats.os4", "feats.os8"),
        module.feats(torch.cat((image, seg, seg, seg), 1))))
    results["psp"] = module.psp(results["feats.os8"])
    results["up_1"] = module.up_1(results["psp"], results["feats.os4"])

    def name_outputs(levels, suffixes):
        for level, names in zip(levels, suffixes):
            for scale, suffix in names.items():
                results["out_" + suffix] = level[scale]
                results["pred_" + suffix] = torch.sigmoid(level[scale])

    name_outputs(cascade(module, image, seg),
                 ({8: "28"}, {8: "28_2", 4: "56"},
                  {8: "28_3", 4: "56_2", 1: "224"}))
    for name, result in results.items():
        name = "forward." + name
        yield compare(name, result, golden[name])

    last = cascade(module, image, seg, coarse=seg / 2)[-1]
    for scale, suffix in {8: "28_3", 4: "56_2", 1: "224"}.items():
        name = "local_forward.out_" + suffix
        yield compare(name, last[scale], golden[name])


def check_cases(module, folder):
    """Yield a Check for each tensor of `cases.safetensors`."""
    golden, cases = safetensors_io.read(
        os.path.join(folder, "cases.safetensors"))
    for case, settings in cases.items():
        path = os.path.join(folder, case)
        image = normalise(read_picture(path + "_image.png"))
        mask = binarise(read_picture(path + "_mask.png"))
        size = json.loads(settings)["L"]
        for variant in VARIANTS:
            for step in ("global", "both"):
                name = f"{case}.{variant}_{step}"
                result = refine(module, image, mask, size, variant,
                                local=step == "both")
                yield compare(name, result, golden[name])


@torch.no_grad()
def check_golden(module, folder):
    """Return the list of Checks of a folder of golden values."""
    return [*check_forward(module, folder), *check_cases(module, folder)]


# ----------------------------------------------------------- command line


def run_golden(options):
    """Print how far the module is from the golden values."""
    module = load(os.path.join(options.folder, "mini.safetensors"))
    store_as(module, getattr(torch, options.storage))
    checks = check_golden(module, options.folder)
    print(f"{'':26} max error  <= 5e-4  <= 8/255")
    for check in checks:
        print(f"{check.name:26} {check.error:9.2e} {check.share:8.3%} "
              f"{check.coarse:8.3%} {'ok' if check.passed else 'NOT OK'}")
    return 0 if all(check.passed for check in checks) else 1


@torch.no_grad()
def run_bench(options):
    """Print the seconds that the three levels take."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    module = random_module(options.widths)
    image = torch.randn(1, 3, options.size, options.size)
    seg = torch.randn(1, 1, options.size, options.size).sign()
    for layout in (torch.contiguous_format, torch.channels_last):
        module.to(memory_format=layout)
        inputs = [x.contiguous(memory_format=layout) for x in (image, seg)]
        seconds = []
        for _ in range(options.repeat + 1):
            start = time.perf_counter()
            cascade(module, *inputs)
            seconds.append(time.perf_counter() - start)
        del seconds[0]  # warming up
        name = str(layout).removeprefix("torch.")
        print(f"{name:18} min {min(seconds):.3f} s  "
              f"median {statistics.median(seconds):.3f} s  "
              f"{options.size}x{options.size}, "
              f"{torch.get_num_threads()} threads")
    return 0


def run_write_random(options):
    """Write a module with random weights."""
    module = random_module(options.widths, options.seed)
    safetensors_io.write(options.path, module.state_dict(), {"format": "pt"})
    return 0


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    widths = {
        "type": Widths.parse, "required": True,
        "help": f"{', '.join(WIDTHS)}, or stem=8,planes=8/16/24/32,"
                "blocks=3/4/6/3,psp=48,up=24/16/8,heads=8/8/8"}

    golden = commands.add_parser("golden", help="check the golden values")
    golden.set_defaults(run=run_golden)
    golden.add_argument("folder", metavar="DIR")
    golden.add_argument("--storage", default="float32",
                        choices=("float32", "bfloat16", "float16"),
                        help="round every convolution's input, weights and "
                             "output to this type")

    bench = commands.add_parser("bench", help="time the three levels")
    bench.set_defaults(run=run_bench)
    bench.add_argument("--widths", **widths)
    bench.add_argument("--size", type=int, default=224, metavar="PIXELS",
                       help="side of the square image, a multiple of 8")
    bench.add_argument("--repeat", type=int, default=3)

    write = commands.add_parser("write-random", help="write random weights")
    write.set_defaults(run=run_write_random)
    write.add_argument("--widths", **widths)
    write.add_argument("--seed", type=int, default=0)
    write.add_argument("path", metavar="OUT.safetensors")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse_arguments(arguments)
    return options.run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
