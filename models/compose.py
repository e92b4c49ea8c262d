#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compose training pictures with an exact alpha and coarse masks of it.

    models/compose.py --part 0 --part 1 --cutouts DIR POOL
    models/compose.py --part 7 --samples 60 --preview sheet.png POOL

Writes POOL/part-NNNN.npz. A part's arrays, for its n samples:

    image   uint8 [n, 224, 224, 3]   RGB
    alpha   uint8 [n, 224, 224]      of the target object, 0..255
    coarse  uint8 [n, 3, 224, 28]    three masks, one bit a pixel
                                     (numpy.unpackbits along the last axis)
    iou     float32 [n, 3]           of each mask
    kind    uint8 [n]                how the outline was made, see KINDS

Sample i of part N depends on the seed, N, i and the sources, on nothing
else: parts can be made in any order and by several processes.
"""

import argparse
import collections
import math
import os
import sys
import time

import cv2
import numpy

import coarse
import pictures
import shapes
from chance import chance, log_uniform, pick, pick_weighted
from shapes import SIDE

HERE = os.path.dirname(os.path.abspath(__file__))
MASKS = 3  # of a sample
AREA = (0.03, 0.93)  # share of the picture that the target covers
VISIBLE = 0.6  # share of the target's boundary that can be seen
CONTRAST = 10  # what can be seen: the difference of a channel, in levels
HIDDEN = 0.6  # share of the target that an occluder may hide
ENLARGED = 1.6  # the most by which a cut-out is enlarged
NEAR = 25  # pixels around an object that are its surroundings
SHEET = (10, 6)  # samples of a preview: rows, columns

BACKGROUNDS = {"photo": 0.85, "texture": 0.08, "drawing": 0.07}
OUTLINES = {"cutout": 0.47, "shape": 0.18, **{
    kind: 0.35 * weight for kind, weight in shapes.KINDS.items()}}
KINDS = tuple(OUTLINES)
THIN = ("branches", "fence", "limbs", "clouds")  # what may hang in front

# colour: float32 [SIDE, SIDE, 3] BGR 0..255; alpha: float32 [SIDE, SIDE]
# 0..1; kind: index in KINDS; levels: of the cut-out or shape, or None
Layer = collections.namedtuple("Layer", "colour alpha kind levels")


def over(below, colour, alpha):
    """The compositing equation."""
    return below + (colour - below) * alpha[..., None]


def gaussian(picture, sigma):
    """Blur, replicating the borders."""
    return cv2.GaussianBlur(picture, (0, 0), sigma,
                            borderType=cv2.BORDER_REPLICATE)


def soft_field(random, knots):
    """Smooth values in about 0..1."""
    return cv2.resize(random.random((knots, knots), dtype=numpy.float32),
                      (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)


# ---------------------------------------------------------------- colours


def background_levels(random, library):
    """A pyramid of something opaque."""
    return library.draw(random, pick_weighted(random, BACKGROUNDS))


def crop(random, levels):
    """A square of a picture at some scale, as a colour."""
    shortest = min(levels[0].shape[:2])
    side = log_uniform(random, min(0.7 * SIDE, shortest), shortest)
    level = 0
    while level + 1 < len(levels) and side / 2 >= 0.9 * SIDE:
        level, side = level + 1, side / 2
    picture = levels[level]
    height, width = picture.shape[:2]
    side = min(int(side), height, width)
    y = random.integers(height - side + 1)
    x = random.integers(width - side + 1)
    square = cv2.resize(
        picture[y:y + side, x:x + side], (SIDE, SIDE),
        interpolation=cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR)
    if chance(random, 0.5):
        square = square[:, ::-1]
    if chance(random, 0.15):
        square = numpy.rot90(square, random.integers(1, 4))
    return square.astype(numpy.float32)


def pattern(random):
    """An alpha that divides a surface: stripes, patches, or two halves."""
    draw = random.random()
    if draw < 0.4:
        angle = random.uniform(0, math.pi)
        line = numpy.arange(SIDE, dtype=numpy.float32)
        phase = math.cos(angle) * line + math.sin(angle) * line[:, None]
        phase *= 2 * math.pi / log_uniform(random, 8, 90)
        phase += random.uniform(0, 2) * shapes.fractal(random, 0.4, 2)
        values = numpy.sin(phase) + random.uniform(-0.6, 0.6)
        return shapes.level_set(values.astype(numpy.float32)) / 255
    if draw < 0.75:
        return shapes.clouds(random).astype(numpy.float32) / 255
    return shapes.half_plane(random).astype(numpy.float32) / 255


def toned(random, colour):
    """The same surface in another paint."""
    gain = numpy.exp(random.normal(0, 0.35, 3) + random.normal(0, 0.4))
    offset = random.normal(0, 25, 3) + random.normal(0, 20)
    return (colour * gain + offset).astype(numpy.float32)


def patched(random, library, colour):
    """A surface of two: strong edges that are no object's boundary."""
    if chance(random, 0.5):
        other = toned(random, colour)
    else:
        other = crop(random, background_levels(random, library))
    return over(colour, other, pattern(random) * random.uniform(0.3, 1))


def spread(premultiplied):
    """Continue a cut-out's colours to where there is nothing of it."""
    colour = numpy.empty((SIDE, SIDE, 3), numpy.float32)
    colour[:] = (premultiplied[..., :3].sum((0, 1))
                 / max(premultiplied[..., 3].sum(), 1e-3) * 255)
    for size in (7, 28, 112, SIDE):
        part = premultiplied
        if size < SIDE:
            part = cv2.resize(cv2.resize(part, (size, size),
                                         interpolation=cv2.INTER_AREA),
                              (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        share = part[..., 3] / 255
        weight = numpy.clip(4 * share - 0.2, 0, 1)
        colour = over(colour, part[..., :3]
                      / numpy.maximum(share, 0.02)[..., None], weight)
    return colour


def statistics(colour, mask):
    """Mean and deviation of each channel where the mask is set."""
    mean, deviation = cv2.meanStdDev(colour, mask=mask)
    return mean[:, 0], deviation[:, 0] + 4


def blended_in(random, colour, alpha, below):
    """Pull an object's colours towards those of its surroundings."""
    inside = (alpha > 0.5).astype(numpy.uint8)
    around = cv2.dilate(inside, numpy.ones((NEAR, NEAR), numpy.uint8))
    around -= inside
    if cv2.countNonZero(inside) < 30 or cv2.countNonZero(around) < 30:
        return colour
    mean, deviation = statistics(colour, inside)
    target_mean, target_deviation = statistics(below, around)
    share = random.uniform(0.2, 0.95)
    gain = 1 + random.uniform(0.3, 1) * share * (
        target_deviation / deviation - 1)
    offset = mean + share * (target_mean - mean) - mean * gain
    return (colour * gain + offset).astype(numpy.float32)


def shaded(random, colour, alpha):
    """Light from one side: falling off, or as on something round."""
    if chance(random, 0.5):
        light = soft_field(random, 3) - 0.5
        return colour * (1 + random.uniform(0.1, 0.7) * light)[..., None]
    small = cv2.resize(alpha, (SIDE // 4, SIDE // 4),
                       interpolation=cv2.INTER_AREA)
    height = gaussian(small, log_uniform(random, 1.5, 6))
    angle = random.uniform(0, 2 * math.pi)
    slope = (math.cos(angle) * cv2.Sobel(height, cv2.CV_32F, 1, 0)
             + math.sin(angle) * cv2.Sobel(height, cv2.CV_32F, 0, 1))
    slope *= random.uniform(0.2, 0.7) / (numpy.abs(slope).max() + 1e-3)
    return colour * (1 + cv2.resize(slope, (SIDE, SIDE)))[..., None]


# ----------------------------------------------------------------- layers


def placed(random, levels, length):
    """Turn, stretch and move an outline or a cut-out, float32 0..255.

    Its long side becomes about `length`. What is too large to be seen whole
    shows a stretch of its boundary.
    """
    longest = max(levels[0].shape[:2])
    level = 0
    while (level + 1 < len(levels)
           and longest / 2 ** (level + 1) >= length):
        level += 1
    picture = levels[level]
    height, width = picture.shape[:2]
    scale = length / max(height, width)
    centre, place = numpy.array([width, height]) / 2, shapes.somewhere(
        random, 0.3, 0.7)
    if length > 0.9 * SIDE:
        alpha = picture if picture.ndim == 2 else picture[..., 3]
        edge = cv2.morphologyEx(cv2.inRange(alpha, 128, 255),
                                cv2.MORPH_GRADIENT,
                                numpy.ones((3, 3), numpy.uint8))
        found = numpy.flatnonzero(edge)
        if len(found):
            y, x = divmod(int(found[random.integers(len(found))]), width)
            centre, place = numpy.array([x, y]), shapes.somewhere(random)
    turn = (random.normal(0, 15) if chance(random, 0.8)
            else random.uniform(-180, 180))
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    gains = scale * random.uniform(0.85, 1.15, 2)
    if chance(random, 0.5):
        gains[0] = -gains[0]
    matrix = numpy.array([[cosine, -sine], [sine, cosine]]) * gains
    matrix = numpy.column_stack([matrix, place - matrix @ centre])
    result = cv2.warpAffine(
        picture, matrix, (SIDE, SIDE),
        flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR)
    result = result.astype(numpy.float32)
    if scale > 1.2 and result.ndim == 2:  # an outline can be made sharp again
        result = gaussian(result, scale / 2)
        result = numpy.clip((result - 127) * min(scale, 6) * 1.2 + 127, 0,
                            255)
    return result


def outline_length(random, longest):
    """The length at which something of that length in pixels is shown."""
    length = min(log_uniform(random, 0.45 * SIDE, 3.2 * SIDE), longest)
    return max(length, 0.35 * SIDE)


def detailed(random, alpha):
    """Hair, holes and thin parts, now and then; uint8 to uint8."""
    if chance(random, 0.2):
        alpha = shapes.fur(random, alpha)
    if chance(random, 0.1):
        alpha = shapes.thin_parts(random, alpha)
    if chance(random, 0.1):
        alpha = shapes.holes(random, alpha)
    return alpha


def make_layer(random, library, below, levels, kinds=None, like=None):
    """An object for a picture `below`, whose own pyramid is `levels`.

    `like` is another layer of which this may be a second specimen.
    """
    if like is not None and like.levels is not None and chance(random, 0.3):
        kind, source = KINDS[like.kind], like.levels
    else:
        kind, source = pick_weighted(random, kinds or OUTLINES), None
    if kind in ("cutout", "shape"):
        source = source or library.draw(random, kind)
        longest = max(source[0].shape[:2])
        if kind == "cutout":
            longest *= ENLARGED
        else:
            longest = 3.2 * SIDE
        drawn = placed(random, source, outline_length(random, longest))
    else:
        drawn = shapes.drawing(random, library, kind)
    if kind == "cutout":
        alpha = drawn[..., 3]
        colour = spread(drawn)
        own_texture = 0.12
    else:
        alpha = drawn
        same = chance(random, 0.25)
        colour = crop(random, levels if same
                      else background_levels(random, library))
        own_texture = 0.25
    alpha = detailed(random, numpy.rint(alpha).astype(numpy.uint8))
    alpha = alpha.astype(numpy.float32) / 255
    if chance(random, own_texture):
        colour = patched(random, library, colour)
    if chance(random, 0.55):
        colour = blended_in(random, colour, alpha, below)
    if chance(random, 0.35):
        colour = shaded(random, colour, alpha)
    return Layer(numpy.clip(colour, 0, 255), numpy.clip(alpha, 0, 1),
                 KINDS.index(kind), source)


def blurred(random, layer):
    """An object out of focus, moving, or with a soft edge."""
    draw = random.random()
    if draw < 0.35:
        sigma = log_uniform(random, 0.3, 1)
        return layer._replace(alpha=gaussian(layer.alpha, sigma))
    if draw > 0.55:
        return layer
    both = numpy.dstack([layer.colour * layer.alpha[..., None], layer.alpha])
    if draw < 0.45:
        both = gaussian(both, log_uniform(random, 0.6, 3))
    else:
        both = moved(random, both, 15)
    alpha = both[..., 3]
    faded = numpy.clip(alpha * 50, 0, 1)  # nothing is divided by nothing
    colour = over(layer.colour, both[..., :3]
                  / numpy.maximum(alpha, 0.02)[..., None], faded)
    return layer._replace(colour=colour, alpha=alpha)


def moved(random, picture, longest):
    """Motion blur of up to `longest` pixels along a line."""
    length = int(random.integers(2, longest + 1))
    kernel = numpy.zeros((length + 2, length + 2), numpy.float32)
    middle = (length + 1) / 2
    angle = random.uniform(0, math.pi)
    reach = numpy.array([math.cos(angle), math.sin(angle)]) * (length - 1) / 2
    ends = numpy.rint((middle + numpy.array([-reach, reach])) * 16)
    cv2.line(kernel, *(tuple(int(v) for v in end) for end in ends), 1.0, 1,
             cv2.LINE_8, 4)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(),
                        borderType=cv2.BORDER_REPLICATE)


def joined(one, other):
    """Two objects that belong together, such as a horse and its rider."""
    colour = over(one.colour, other.colour, other.alpha)
    alpha = 1 - (1 - one.alpha) * (1 - other.alpha)
    return one._replace(colour=colour, alpha=alpha)


def shadow(random, below, alpha):
    """Darken what is beside and below an object."""
    shift = (int(random.integers(-12, 13)), int(random.integers(-4, 15)))
    shade = coarse.shifted(alpha, shift)
    shade = gaussian(shade, random.uniform(1.5, 9))
    return below * (1 - random.uniform(0.2, 0.7) * shade)[..., None]


def wrapped(random, below, layer):
    """Light from behind that spills over an object's edge."""
    size = SIDE // 4
    small = cv2.resize(numpy.dstack([below, 1 - layer.alpha]), (size, size),
                       interpolation=cv2.INTER_AREA)
    spill = cv2.resize(gaussian(small, log_uniform(random, 0.5, 3)),
                       (SIDE, SIDE))
    colour = over(layer.colour, spill[..., :3],
                  random.uniform(0.2, 0.8) * spill[..., 3])
    return layer._replace(colour=colour)


# ------------------------------------------------------------- photography


def motion_or_focus(random, image):
    """Blur of the whole picture."""
    if chance(random, 0.12):
        image = moved(random, image, 7)
    if chance(random, 0.25):
        image = gaussian(image, log_uniform(random, 0.3, 1.4))
    return image


def tone(random, image):
    """Exposure, contrast, tint; now and then no colour at all."""
    if chance(random, 0.6):
        image = 255 * cv2.pow(numpy.clip(image, 0, 255) / 255,
                              log_uniform(random, 0.6, 1.6))
        image = ((image - 128) * random.uniform(0.6, 1.2) + 128
                 + random.uniform(-25, 25))
    if chance(random, 0.25):
        image = image * numpy.exp(random.normal(0, 0.12, 3)).astype(
            numpy.float32)
    if chance(random, 0.06):
        image = cv2.merge([cv2.cvtColor(numpy.clip(image, 0, 255).astype(
            numpy.float32), cv2.COLOR_BGR2GRAY)] * 3)
    return image


def compressed(random, image):
    """What JPEG and halved chroma leave of a picture; float to uint8."""
    image = numpy.clip(image, 0, 255).astype(numpy.uint8)
    if chance(random, 0.55):
        quality = int(random.integers(35, 95))
        _, data = cv2.imencode(".jpg", image,
                               [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    elif chance(random, 0.2):
        planes = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
        half = (image.shape[1] // 2, image.shape[0] // 2)
        chroma = cv2.resize(planes[..., 1:], half,
                            interpolation=cv2.INTER_AREA)
        planes[..., 1:] = cv2.resize(chroma, image.shape[1::-1],
                                     interpolation=cv2.INTER_LINEAR)
        image = cv2.cvtColor(planes, cv2.COLOR_YCrCb2BGR)
    return image


def photographed(random, image):
    """All that a camera and a codec do to a scene; float to uint8 BGR."""
    image = tone(random, motion_or_focus(random, image))
    factor = 1.0
    if chance(random, 0.25):  # a small video frame that gets enlarged
        factor = random.uniform(1.2, 3)
        size = round(SIDE / factor)
        image = cv2.resize(image, (size, size),
                           interpolation=cv2.INTER_AREA)
    if chance(random, 0.15):
        image = image + random.uniform(0.3, 1.2) * (
            image - gaussian(image, 1.2))
    if chance(random, 0.5):
        channels = pick(random, (1, 3))
        noise = random.standard_normal((*image.shape[:2], channels),
                                       dtype=numpy.float32)
        image = image + log_uniform(random, 1, 10) * noise
    image = compressed(random, image)
    if factor > 1:
        image = cv2.resize(image, (SIDE, SIDE), interpolation=pick(
            random, (cv2.INTER_LINEAR, cv2.INTER_CUBIC)))
    return image


# ----------------------------------------------------------------- samples


def scenery(random, library, levels, target):
    """A background with objects in it, and the alpha of the last one.

    `target` is a layer of which there may be another specimen.
    """
    below = crop(random, levels)
    if chance(random, 0.15):
        below = patched(random, library, below)
    alpha = None
    for _ in range(pick(random, (0, 0, 1, 1, 2))):
        layer = make_layer(random, library, below, levels, like=target)
        alpha = layer.alpha
        if chance(random, 0.2):
            alpha = alpha * random.uniform(0.5, 1)
        below = over(below, layer.colour, alpha)
    if chance(random, 0.35):
        below = gaussian(below, log_uniform(random, 0.5, 5))
    return below, alpha


def visible(layer, below):
    """The share of a layer's boundary where it differs from what is below.

    Averaged over 5 x 5 pixels: a difference in fine texture alone is lost in
    noise and compression.
    """
    edge = cv2.morphologyEx((layer.alpha > 0.5).astype(numpy.uint8),
                            cv2.MORPH_GRADIENT,
                            numpy.ones((3, 3), numpy.uint8)) > 0
    difference = cv2.blur(layer.colour - below, (5, 5))
    difference = numpy.abs(difference[edge]).max(-1)
    return (difference > CONTRAST).mean() if len(difference) else 0


def attempt(random, library):
    """An image, the target's alpha, a distractor's or None, and the kind.

    Or None, where the target is too large, too small, or hardly visible.
    """
    levels = background_levels(random, library)
    surface = crop(random, levels)  # roughly what the target will stand on
    target = make_layer(random, library, surface, levels)
    if chance(random, 0.12):
        other = make_layer(random, library, surface, levels)
        target = joined(target, other)
    below, distractor = scenery(random, library, levels, target)
    target = blurred(random, target)
    if chance(random, 0.25):
        below = shadow(random, below, target.alpha)
    if chance(random, 0.2):
        target = wrapped(random, below, target)
    image = over(below, target.colour, target.alpha)
    alpha = target.alpha
    if chance(random, 0.25):
        kinds = None
        if chance(random, 0.5):
            kinds = {kind: OUTLINES[kind] for kind in THIN}
        front = make_layer(random, library, image, levels, kinds, target)
        front = blurred(random, front)
        hidden = (alpha * front.alpha).sum() / (alpha.sum() + 1e-3)
        if hidden < HIDDEN:
            image = over(image, front.colour, front.alpha)
            alpha = alpha * (1 - front.alpha)
            distractor = front.alpha
    if not AREA[0] < (alpha > 0.5).mean() < AREA[1]:
        return None
    if visible(target, below) < VISIBLE:
        return None
    return (photographed(random, image),
            numpy.rint(alpha * 255).astype(numpy.uint8), distractor,
            target.kind)


def make_sample(random, library):
    """A sample as a dictionary of a part's arrays, without their first axis.
    """
    while True:
        scene = attempt(random, library)
        if scene is not None:
            break
    image, alpha, distractor, kind = scene
    if distractor is not None:
        distractor = (distractor * 255).astype(numpy.uint8)
    masks, similarities = zip(*(coarse.sample(alpha, random, distractor)
                                for _ in range(MASKS)))
    return {"image": image[..., ::-1], "alpha": alpha,
            "coarse": numpy.packbits(numpy.stack(masks) > 0, axis=-1),
            "iou": numpy.float32(similarities), "kind": numpy.uint8(kind)}


def make_part(library, seed, part, count):
    """The arrays of a part of `count` samples."""
    samples = (make_sample(numpy.random.default_rng((seed, part, index)),
                           library) for index in range(count))
    arrays = {}
    for index, sample in enumerate(samples):
        for name, value in sample.items():
            if name not in arrays:
                arrays[name] = numpy.empty((count, *value.shape), value.dtype)
            arrays[name][index] = value
    return arrays


def write_part(path, arrays):
    """Write a part so that a reader finds all of it or nothing."""
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            numpy.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


def preview(arrays):
    """A contact sheet, BGR: image, alpha and a coarse mask of each."""
    rows, columns = SHEET
    blank = numpy.zeros((SIDE, 3 * SIDE, 3), numpy.uint8)
    tiles = [blank] * (rows * columns)
    for index in range(min(len(tiles), len(arrays["alpha"]))):
        masks = numpy.unpackbits(arrays["coarse"][index], axis=-1) * 255
        tiles[index] = numpy.hstack([
            arrays["image"][index][..., ::-1],
            cv2.merge([arrays["alpha"][index]] * 3),
            cv2.merge([masks[index % MASKS]] * 3)])
    return numpy.vstack([numpy.hstack(tiles[row * columns:(row + 1) * columns])
                         for row in range(rows)])


def main(arguments):
    lines = __doc__.splitlines()
    parser = argparse.ArgumentParser(
        description=lines[0], epilog="\n".join(lines[2:]),
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", metavar="POOL", help="folder of the parts")
    parser.add_argument("--part", type=int, action="append", required=True,
                        help="number of a part to make; repeatable")
    parser.add_argument("--samples", type=int, default=1000,
                        help="of each part (default: 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sources", metavar="TABLE",
                        default=os.path.join(HERE, "sources.tsv"),
                        help="of pictures (default: models/sources.tsv)")
    parser.add_argument("--cutouts", metavar="DIR",
                        help="where the pictures of package trellis are")
    parser.add_argument("--preview", metavar="OUT.png",
                        help="contact sheet of the last part's beginning")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    try:
        library = pictures.Library(
            pictures.read_table(options.sources, options.cutouts))
        for package, count in sorted(library.missing.items()):
            print(f"compose: package {package} is not there: {count} files "
                  "left out", file=sys.stderr)
        os.makedirs(options.pool, exist_ok=True)
        for part in options.part:
            start = time.process_time()
            arrays = make_part(library, options.seed, part, options.samples)
            spent = time.process_time() - start
            path = os.path.join(options.pool, f"part-{part:04d}.npz")
            write_part(path, arrays)
            print(f"{path}: {1e3 * spent / options.samples:.1f} ms a sample, "
                  f"mean IoU {arrays['iou'].mean():.3f}, mean area "
                  f"{(arrays['alpha'] > 127).mean():.3f}", flush=True)
        if options.preview:
            cv2.imwrite(options.preview, preview(arrays))
    except (OSError, pictures.SourceError) as error:
        print(f"compose: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
