#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Train the refinement module on a pool of composites.

    train.py run RUN --pool POOL ...     start, or go on where RUN stopped
    train.py export RUN OUT.safetensors  the averaged weights, for the element
    train.py curves RUN OUT.png          the log as a picture

RUN is a folder: `config.json` holds what was asked for at the start and
never changes, `checkpoint.pt` everything that the next step depends on,
`log.jsonl` one line for each report. A run that was killed and goes on takes
the same steps, to the bit, as one that was not: what a step draws at random
depends on the seed, the step and the process, on nothing else.

POOL is a folder of parts that compose.py makes. A run needs part 0 at
first and one more for every `--samples-per-part` samples; where a part is not
there yet, it waits for it, so compose.py may run beside it. The parts are
read in place, they need not fit into memory. The last part, `--held-out`,
is for measuring only.

The loss is the paper's (section 3.3, as published), with three additions that
help a narrow module trained from nothing, see `Losses`. The curriculum is in
`Curriculum`. The learning rate stays level, then falls to zero over the
last `--decay` steps: so a run can be made longer by a new run that starts
from a checkpoint of its level part (`--from`). Where only the exported weights
are left, they do as well, at a lower rate: `--first-step` says where in the
curriculum they are.
"""

import argparse
import copy
import dataclasses
import json
import math
import os
import sys
import time
import zipfile

import numpy
import torch
from torch import nn
from torch.nn import functional as F

import reference

AVERAGE = 0.998  # of the averaged weights, per step; less at the start
WARM_UP = 100  # steps until the full learning rate
CLIP = 3.0  # norm of the gradient
FOREGROUND = (0.02, 0.97)  # share in a crop that is worth learning from
LOOSE, TIGHT = 0.2, 0.08  # share of crops whose outlines are moved, see redraw


@dataclasses.dataclass(frozen=True)
class Config:
    """What defines a run."""

    widths: str
    pool: str
    steps: int
    decay: int
    rate: float
    weight_decay: float
    processes: int
    seed: int
    samples_per_part: int
    first_parts: int
    held_out: int
    scale: float  # of the curriculum's lengths; 1: as written below
    first_step: int = 0  # of weights that were trained before


# ------------------------------------------------------------- curriculum


@dataclasses.dataclass(frozen=True)
class Stage:
    """How to train from a number of samples on, until the next stage."""

    samples: int
    side: int  # of the square crops, a multiple of 8
    batch: int  # per process
    single: float  # share of steps with all masks = the input mask
    easy: float  # share of crops whose foreground gets a colour of its own


# From nothing, the module sits on "copy the input mask" for thousands of
# samples. What gets it off: foregrounds that differ in colour, and one pass
# in place of three.
STAGES = (
    Stage(0, 112, 8, 0.75, 0.6),
    Stage(16000, 112, 8, 0.7, 0.35),
    Stage(32000, 144, 6, 0.3, 0.15),
    Stage(48000, 144, 6, 0.0, 0.1),
    Stage(90000, 192, 5, 0.0, 0.05),
    Stage(170000, 224, 5, 0.0, 0.03),
)


class Curriculum:
    """Stages, laid out over the steps of a run."""

    def __init__(self, config):
        self.stages = []  # (first step, samples seen by then, Stage)
        first = samples = 0
        for stage, after in zip(STAGES, (*STAGES[1:], None)):
            self.stages.append((first, samples, stage))
            if after is None:
                break
            per_step = stage.batch * config.processes
            length = config.scale * (after.samples - stage.samples)
            steps = max(1, round(length / per_step))
            first += steps
            samples += steps * per_step
        self.config = config

    def at(self, step):
        """Return the Stage of a step and the samples seen before it."""
        first, samples, stage = max(
            (entry for entry in self.stages if entry[0] <= step),
            key=lambda entry: entry[0])
        return stage, samples + (
            step - first) * stage.batch * self.config.processes

    def parts(self, step):
        """Return how many parts of the pool a step draws from."""
        config = self.config
        _, before = self.at(config.first_step)
        _, samples = self.at(step)
        return min(config.first_parts
                   + (samples - before) // config.samples_per_part,
                   config.held_out)

    def rate(self, step):
        """Return the learning rate of a step."""
        config = self.config
        left = (config.steps - step) / max(1, config.decay)
        taken = step - config.first_step
        return config.rate * min(1, (taken + 1) / WARM_UP) * min(1, left)


# ------------------------------------------------------------------- data


def map_npz(path):
    """Return the arrays of an uncompressed .npz file, mapped read-only."""
    arrays = {}
    with zipfile.ZipFile(path) as archive, open(path, "rb") as file:
        for entry in archive.infolist():
            if entry.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path}: {entry.filename} is compressed")
            file.seek(entry.header_offset + 26)
            lengths = numpy.frombuffer(file.read(4), "<u2")
            file.seek(int(lengths.sum()), os.SEEK_CUR)
            numpy.lib.format.read_magic(file)
            shape, fortran, dtype = numpy.lib.format.read_array_header_1_0(
                file)
            if fortran:
                raise ValueError(f"{path}: {entry.filename} is transposed")
            arrays[entry.filename.removesuffix(".npy")] = numpy.memmap(
                path, dtype, "r", file.tell(), shape)
    return arrays


class Pool:
    """The parts of a pool, opened as they are asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.opened = {}

    def part(self, number):
        """Return the arrays of a part; waits until it exists."""
        if number not in self.opened:
            path = os.path.join(self.folder, f"part-{number:04}.npz")
            if not os.path.exists(path):
                print(f"waiting for {path}", flush=True)
            while not os.path.exists(path):
                time.sleep(2)
            self.opened[number] = map_npz(path)
        return self.opened[number]

    def crop(self, number, index, variant, top, left, side):
        """Return a crop's image (HxWx3), alpha and coarse mask, all bytes."""
        part = self.part(number)
        rows = slice(top, top + side)
        columns = slice(left, left + side)
        coarse = numpy.unpackbits(part["coarse"][index, variant, rows], 1)
        return (part["image"][index, rows, columns],
                part["alpha"][index, rows, columns],
                coarse[:, columns] * numpy.uint8(255))

    def draw(self, random, parts, side):
        """Return a random crop of the first `parts` parts."""
        while True:
            number = int(random.integers(parts))
            part = self.part(number)
            count, height, width = part["alpha"].shape
            crop = self.crop(
                number, int(random.integers(count)),
                int(random.integers(part["coarse"].shape[1])),
                int(random.integers(height - side + 1)),
                int(random.integers(width - side + 1)), side)
            low, high = FOREGROUND
            if low < (crop[1] > 127).mean() < high or random.random() < 0.05:
                return crop


def flipped(random, crop):
    """Mirror and transpose a crop at random."""
    image, alpha, coarse = crop
    if random.random() < 0.5:
        image, alpha, coarse = image[:, ::-1], alpha[:, ::-1], coarse[:, ::-1]
    if random.random() < 0.2:
        image, alpha, coarse = image[::-1], alpha[::-1], coarse[::-1]
    if random.random() < 0.2:
        image, alpha, coarse = image.transpose(1, 0, 2), alpha.T, coarse.T
    return image, alpha, coarse


def redraw(random, alpha, seg):
    """Move some outlines by 1 or 2 pixels, the input masks' with them.

    Masks of one origin follow every edge at a small distance, those of
    another cut in. Which it is can be told from the input mask alone.
    """
    for i in range(len(alpha)):
        kind = random.random()
        if kind < LOOSE + TIGHT:
            move = grow if kind < LOOSE else shrink
            pixels = int(random.integers(1, 3))
            alpha[i], seg[i] = move(alpha[i], pixels), move(seg[i], pixels)


def draw_batch(pool, random, parts, stage):
    """Return a batch: image (normalised), alpha in [0, 1], seg of +-1."""
    crops = [flipped(random, pool.draw(random, parts, stage.side))
             for _ in range(stage.batch)]
    image, alpha, coarse = (torch.from_numpy(numpy.stack(arrays))
                            for arrays in zip(*crops))
    alpha = alpha[:, None].float() / 255
    seg = 2 * (coarse[:, None] > 127).float() - 1
    image = image.permute(0, 3, 1, 2).float() / 255
    outline = alpha.clone()
    redraw(random, alpha, seg)

    def uniform(low, high, channels=1):
        size = (stage.batch, channels, 1, 1)
        return torch.from_numpy(
            random.uniform(low, high, size).astype(numpy.float32))

    easy = (uniform(0, 1) < stage.easy).float()
    colour = torch.from_numpy(
        random.normal(0, 0.25, (stage.batch, 3, 1, 1)).astype(numpy.float32))
    image = image + outline * easy * colour
    image = (image - 0.5) * uniform(0.8, 1.2) + 0.5 + uniform(-0.1, 0.1)
    image = image * uniform(0.92, 1.08, 3)
    for i in range(stage.batch):
        if random.random() < 0.06:
            image[i] = image[i].mean(0, keepdim=True)
        elif random.random() < 0.12:
            image[i] = image[i, torch.from_numpy(random.permutation(3))]
    mean, std = (torch.tensor(v)[:, None, None]
                 for v in (reference.MEAN, reference.STD))
    return (image.clamp(0, 1) - mean) / std, alpha, seg


# ----------------------------------------------------------------- losses


def grow(x, radius):
    """Dilate by a square of the given radius."""
    side = 2 * radius + 1  # by rows, then by columns: less work
    x = F.max_pool2d(x, (side, 1), 1, (radius, 0))
    return F.max_pool2d(x, (1, side), 1, (0, radius))


def shrink(x, radius):
    """Erode by a square of the given radius."""
    return -grow(-x, radius)


def gradient(x):
    """Return the gradient's magnitude: 3x3 mean, then Sobel / 4."""
    sobel = x.new_tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]]) / 4
    kernels = torch.stack((sobel, sobel.T))[:, None]
    g = F.conv2d(F.avg_pool2d(x, 3, 1, 1), kernels, padding=1)
    return torch.sqrt((g ** 2).sum(1, keepdim=True) + 1e-4)


class Losses:
    """The published loss of all outputs of a cascade, with three additions.

    - Cross-entropy on the finest output too: L1 + L2 alone has no gradient
      where a pixel is wrong with certainty.
    - Pixels count more within 5 px of an error of the input mask, which is
      where there is something to learn.
    - So do thin parts of the object and of the gaps in it (what a 7x7
      opening or closing removes), which few pixels belong to.
    """

    ERROR, THIN = 3.0, 2.0  # added to a weight of 1

    def __init__(self, alpha, seg):
        self.alpha = alpha
        self.binary = (alpha > 0.5).float()
        wrong = grow((seg * 0.5 + 0.5 - self.binary).abs(), 5)
        thin = self.binary - grow(shrink(self.binary, 3), 3)
        gaps = shrink(grow(self.binary, 3), 3) - self.binary
        weight = 1 + self.ERROR * wrong + self.THIN * grow(thin + gaps, 1)
        self.weight = weight / weight.mean()

    def mean(self, loss):
        return (self.weight * loss).mean()

    def entropy(self, logit, target):
        return self.mean(F.binary_cross_entropy_with_logits(
            logit, target, reduction="none"))

    def distance(self, probability):
        error = (probability - self.alpha).abs()
        return self.mean(error + error ** 2)

    def of(self, levels):
        """Return {name: loss} of a cascade's [{scale: logit}]."""
        losses = {}
        for level, logits in enumerate(levels, 1 + 3 - len(levels)):
            for scale, logit in logits.items():
                logit = logit.float()
                if scale == 8:
                    loss = self.entropy(logit, self.binary)
                elif scale == 4:
                    loss = 0.5 * self.entropy(logit, self.binary) + \
                        0.25 * self.distance(torch.sigmoid(logit))
                else:
                    p = torch.sigmoid(logit)
                    loss = self.distance(p) + \
                        0.5 * self.entropy(logit, self.alpha)
                    losses["gradient"] = 5 * (
                        gradient(p) - gradient(self.alpha)).abs().mean()
                losses[f"{level}/{scale}"] = loss
        return losses


# ----------------------------------------------------------------- module


def initialise(module):
    """He's initialisation, branches and logits damped."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(
                part.weight, nonlinearity="relu",
                mode="fan_out" if name.startswith("feats") else "fan_in")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
            if name.endswith(("conv.5", "conv2.5")):
                part.weight.data.mul_(0.5)
            elif part.out_channels == 1:
                part.weight.data.mul_(0.2)
        elif name.endswith("bn3"):
            nn.init.constant_(part.weight, 0.2)


def single_pass(module, image, seg):
    """Run the module once, every mask being the input mask."""
    masks = torch.cat((seg, seg, seg), 1)
    return [{scale: reference.enlarge(logit, scale)
             for scale, logit in module(image, masks, 1).items()}]


@torch.no_grad()
def measure(module, pool, number, limit=96):
    """Return IoU and accuracy near the boundary, before and after."""
    counts = numpy.zeros(6)
    part = pool.part(number)
    samples = min(limit, len(part["alpha"]))
    side = part["alpha"].shape[1] // 8 * 8
    module.eval()
    for first in range(0, samples, 8):
        crops = [pool.crop(number, i, 0, 0, 0, side)
                 for i in range(first, min(first + 8, samples))]
        image = torch.cat([reference.normalise(numpy.array(c[0]))
                           for c in crops])
        alpha, coarse = (torch.from_numpy(numpy.stack([c[i] for c in crops]))
                         [:, None] > 127 for i in (1, 2))
        with torch.autocast("cpu", torch.bfloat16):
            logit = reference.cascade(module, image,
                                      2 * coarse.float() - 1)[-1][1]
        result = logit > 0
        binary = alpha.float()
        band = grow(binary, 3) > shrink(binary, 3)
        for i, mask in enumerate((coarse, result)):
            counts[3 * i:3 * i + 3] += (
                (mask & alpha).sum().item(), (mask | alpha).sum().item(),
                ((mask == alpha) & band).sum().item() / band.sum().item())
    before, after = counts.reshape(2, 3)
    batches = math.ceil(samples / 8)
    return {"coarse IoU": before[0] / before[1], "IoU": after[0] / after[1],
            "coarse BA": before[2] / batches, "BA": after[2] / batches}


# -------------------------------------------------------------------- run


class Trainer:
    """One process of a run."""

    def __init__(self, config, folder, rank, device):
        self.config = config
        self.folder = folder
        self.rank = rank
        self.device = device
        self.curriculum = Curriculum(config)
        self.pool = Pool(config.pool)
        torch.manual_seed(config.seed)
        module = reference.RefinementModule(
            reference.Widths.parse(config.widths))
        initialise(module)
        self.module = module.to(device, memory_format=torch.channels_last)
        self.average = copy.deepcopy(self.module).eval()
        self.optimiser = torch.optim.AdamW(
            self.module.parameters(), config.rate, (0.9, 0.99),
            weight_decay=config.weight_decay)
        self.step = 0

    @property
    def checkpoint(self):
        return os.path.join(self.folder, "checkpoint.pt")

    def save(self):
        """Write the checkpoint; a kill leaves the old or the new one."""
        state = {
            "step": self.step, "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict()}
        torch.save(state, self.checkpoint + ".new")
        os.replace(self.checkpoint + ".new", self.checkpoint)

    def load(self, path):
        """Go on from a checkpoint; of other files, from their weights."""
        if path.endswith(".safetensors"):
            tensors = reference.read_tensors(path)
            self.module.load_state_dict(tensors)
            self.average.load_state_dict(tensors)
            self.step = self.config.first_step
            return
        state = torch.load(path, map_location=self.device)
        self.step = state["step"]
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])

    def share_gradients(self):
        """Average the gradients over the processes."""
        if self.config.processes == 1:
            return
        grads = [p.grad for p in self.module.parameters()
                 if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in grads])
        torch.distributed.all_reduce(flat)
        flat /= self.config.processes
        for grad, part in zip(grads, flat.split([g.numel() for g in grads])):
            grad.copy_(part.view(grad.shape))

    @torch.no_grad()
    def update_average(self):
        taken = self.step - self.config.first_step
        keep = min(AVERAGE, (1 + taken) / (10 + taken))
        averages = self.average.state_dict().values()
        for average, now in zip(averages, self.module.state_dict().values()):
            if average.dtype.is_floating_point:
                average.lerp_(now, 1 - keep)
            else:
                average.copy_(now)

    def take_step(self):
        """Take one step; return what to report of it."""
        stage, _ = self.curriculum.at(self.step)
        shared = numpy.random.default_rng((self.config.seed, self.step))
        own = numpy.random.default_rng(
            (self.config.seed, self.step, 1 + self.rank))
        image, alpha, seg = (
            x.to(self.device, memory_format=torch.channels_last)
            for x in draw_batch(self.pool, own,
                                self.curriculum.parts(self.step), stage))
        run = reference.cascade
        if shared.random() < stage.single:
            run = single_pass

        self.module.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            levels = run(self.module, image, seg)
        losses = Losses(alpha, seg).of(levels)
        self.optimiser.zero_grad(set_to_none=True)
        sum(losses.values()).backward()
        self.share_gradients()
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), CLIP)
        for group in self.optimiser.param_groups:
            group["lr"] = self.curriculum.rate(self.step)
        # A batch that went wrong must not end a run of days.
        if torch.isfinite(norm):
            self.optimiser.step()
            self.step += 1
            self.update_average()
        else:
            print(f"step {self.step}: no finite gradient, left out",
                  flush=True)
            self.step += 1
        return {name: loss.item() for name, loss in losses.items()} | {
            "norm": norm.item()}

    def run(self, report_every, measure_every):
        """Train until the last step."""
        sums, start, first = {}, time.monotonic(), self.step
        while self.step < self.config.steps:
            for name, value in self.take_step().items():
                total, count = sums.get(name, (0, 0))
                sums[name] = total + value, count + 1
            done = self.step == self.config.steps
            if self.rank == 0 and (done or self.step % report_every == 0):
                self.report(sums, start, first)
                sums = {}
                if done or self.step % measure_every == 0:
                    self.log({"step": self.step, **measure(
                        self.average, self.pool, self.config.held_out)})
                self.save()

    def report(self, sums, start, first):
        stage, samples = self.curriculum.at(self.step - 1)
        rate = (self.step - first) / (time.monotonic() - start)
        self.log({
            "step": self.step, "samples": samples, "side": stage.side,
            "parts": self.curriculum.parts(self.step - 1),
            "rate": self.curriculum.rate(self.step - 1),
            "samples/s": rate * stage.batch * self.config.processes,
            "hours left": (self.config.steps - self.step) / rate / 3600,
            **{name: total / count for name, (total, count) in sums.items()}})

    def log(self, entry):
        entry["time"] = round(time.time())
        line = json.dumps({name: round(value, 6) for name, value
                           in entry.items()})
        with open(os.path.join(self.folder, "log.jsonl"), "a") as file:
            file.write(line + "\n")
        print(line, flush=True)


def run_process(rank, config, folder, start, options):
    """Run one process, on a core or a GPU of its own."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device, rank if options.device == "cuda"
                          else None)
    if config.processes > 1:
        torch.distributed.init_process_group(
            "nccl" if options.device == "cuda" else "gloo",
            init_method="file://" + os.path.abspath(
                os.path.join(folder, "rendezvous")),
            rank=rank, world_size=config.processes)
    trainer = Trainer(config, folder, rank, device)
    if start:
        trainer.load(start)
        if rank == 0:
            print(f"from step {trainer.step} of {start}", flush=True)
    trainer.run(options.report_every, options.measure_every)
    if config.processes > 1:
        torch.distributed.destroy_process_group()


def run(options):
    """Start a run or go on with it."""
    folder = options.folder
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "config.json")
    asked = Config(**{field.name: getattr(options, field.name)
                      for field in dataclasses.fields(Config)})
    start = options.start
    if os.path.exists(path):
        with open(path) as file:
            config = Config(**json.load(file))
        if config != asked:
            print(f"{path} says otherwise than the command line; it is what "
                  "counts. For other settings, start another run.",
                  file=sys.stderr)
        if os.path.exists(os.path.join(folder, "checkpoint.pt")):
            start = os.path.join(folder, "checkpoint.pt")
    else:
        config = asked
        with open(path, "w") as file:
            json.dump(dataclasses.asdict(config), file, indent=1)
    rendezvous = os.path.join(folder, "rendezvous")
    if os.path.exists(rendezvous):
        os.remove(rendezvous)
    torch.multiprocessing.spawn(run_process, (config, folder, start, options),
                                config.processes)


def export(options):
    """Write the averaged weights as a file that the element loads."""
    state = torch.load(os.path.join(options.folder, "checkpoint.pt"),
                       map_location="cpu")
    reference.write_tensors(options.path, state["average"],
                            reference.TYPES[options.type])
    print(f"{options.path}: averaged weights of step {state['step']}")


def curves(options):
    """Draw the log."""
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with open(os.path.join(options.folder, "log.jsonl")) as file:
        entries = [json.loads(line) for line in file]
    samples = {e["step"]: e["samples"] for e in entries if "samples" in e}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 4))
    for name in ("1/8", "2/4", "3/1", "gradient"):
        points = [(e["samples"], e[name]) for e in entries if name in e]
        left.plot(*zip(*points), label=name, linewidth=1)
    left.set(title="loss", xlabel="samples", yscale="log")
    left.legend()
    for name in ("IoU", "BA", "coarse IoU", "coarse BA"):
        points = [(samples[e["step"]], 100 * e[name]) for e in entries
                  if name in e]
        right.plot(*zip(*points), label=name, linewidth=1)
    right.set(title="held-out composites, averaged weights, %",
              xlabel="samples")
    right.legend()
    figure.tight_layout()
    figure.savefig(options.path)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("run", help="start a run or go on with it")
    train.set_defaults(run=run)
    train.add_argument("folder", metavar="RUN")
    train.add_argument("--pool", required=True, help="what compose.py made")
    train.add_argument("--widths", default="small",
                       help="as of reference.py (default: small)")
    train.add_argument("--steps", type=int, default=20000)
    train.add_argument("--decay", type=int, default=4000,
                       help="steps at the end over which the rate falls")
    train.add_argument("--rate", type=float, default=1.5e-3)
    train.add_argument("--weight-decay", type=float, default=1e-3)
    train.add_argument("--processes", type=int, default=1,
                       help="one for each core or GPU (default: 1)")
    train.add_argument("--threads", type=int, default=1,
                       help="of each process (default: 1)")
    train.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    train.add_argument("--seed", type=int, default=0)
    train.add_argument("--samples-per-part", type=int, default=4000,
                       help="samples after which one more part is used")
    train.add_argument("--first-parts", type=int, default=4)
    train.add_argument("--held-out", type=int, default=60, metavar="PART",
                       help="part to measure on, all others are below it")
    train.add_argument("--scale", type=float, default=1.0,
                       help="stretches the curriculum")
    train.add_argument("--from", dest="start", metavar="FILE",
                       help="start a new run from an old one's checkpoint, or "
                       "from nothing\nbut the weights of a .safetensors file")
    train.add_argument("--first-step", type=int, default=0, metavar="STEP",
                       help="that weights of --from have come to")
    train.add_argument("--report-every", type=int, default=50)
    train.add_argument("--measure-every", type=int, default=500)

    out = commands.add_parser("export", help="write the averaged weights")
    out.set_defaults(run=export)
    out.add_argument("folder", metavar="RUN")
    out.add_argument("path", metavar="OUT.safetensors")
    out.add_argument("--type", choices=reference.TYPES, default="fp16",
                     help="of the numbers in it (default: fp16)")

    draw = commands.add_parser("curves", help="draw the log")
    draw.set_defaults(run=curves)
    draw.add_argument("folder", metavar="RUN")
    draw.add_argument("path", metavar="OUT.png")
    return parser.parse_args(arguments)


def main(arguments):
    options = parse_arguments(arguments)
    options.run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
