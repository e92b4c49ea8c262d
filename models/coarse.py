# SPDX-License-Identifier: LGPL-2.1-or-later
"""Coarse masks, made from an exact one, for training and for evaluation.

An alpha is a uint8 array HxW, 0..255; what comes out is a mask of the same
size that holds only 0 and 255. `random` is a numpy.random.Generator: the
same alpha and the same state of it give the same mask.

Lengths that stand for a property of the scene or of a segmenter are measured
in *units* of 1/224 of the alpha's long side, so that a mask of a whole frame
is as coarse as one of a training crop. The elements of the paper's
perturbation are in pixels, as published.
"""

import math

import cv2
import numpy

from chance import chance, log_uniform, pick, pick_weighted

SIDE = 224  # units of the long side
LOWEST_IOU = 0.45  # of a training mask

# the paper's perturbation
STRETCH = 0.1  # share of a contour that is removed
VERTICES = 0.1  # share of the rest's vertices that is kept
ROUNDS = 250
RECTANGLES = 4  # of a round
ELEMENTS = (3, 10)  # sides of structuring elements: 3..9
SHORTEST = 10  # contour that survives, in vertices

# how often each kind is drawn
WEIGHTS = {"low-resolution": 0.34, "paper": 0.25, "blob": 0.2,
           "late": 0.06, "speckle": 0.08, "limbs": 0.07}


def binary(alpha):
    """Threshold an alpha at one half."""
    return cv2.threshold(alpha, 127, 255, cv2.THRESH_BINARY)[1]


def iou(a, b):
    """Intersection over union of two masks; of two empty ones, 1."""
    a, b = binary(a), binary(b)
    union = cv2.countNonZero(a | b)
    return cv2.countNonZero(a & b) / union if union else 1.0


def unit(alpha):
    """A unit of length, in pixels."""
    return max(alpha.shape) / SIDE


def field(random, shape, cells):
    """Smooth noise of about unit variance with `cells` knots a side."""
    knots = random.standard_normal((cells, cells), dtype=numpy.float32)
    return cv2.resize(knots, shape[::-1], interpolation=cv2.INTER_CUBIC)


def contours(mask):
    """All contours of a mask, each an array of every vertex (x, y)."""
    found, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return [contour[:, 0] for contour in found]


# ------------------------------------------------------------------ paper


def thinned(contour, random, vertices=VERTICES):
    """Cut a stretch off a contour and keep a share of the other vertices.

    The stretch is one of those whose ends lie close together, such as a
    limb or a dent.
    """
    length = int(len(contour) * STRETCH)
    chord = contour[:len(contour) - length] - contour[length:]
    order = numpy.argsort((chord ** 2).sum(1), kind="stable")
    start = pick(random, order[:math.ceil(len(order) * STRETCH)])
    contour = numpy.delete(contour, slice(start, start + length), axis=0)
    count = max(1, int(len(contour) * vertices))
    return contour[numpy.sort(random.permutation(len(contour))[:count])]


def simplified(mask, random, vertices=VERTICES):
    """A mask between thinned contours; the shortest contours are lost."""
    kept = [thinned(contour, random, vertices) for contour in contours(mask)
            if len(contour) >= SHORTEST]
    if not kept:
        return mask.copy()
    return cv2.drawContours(numpy.zeros_like(mask), kept, -1, 255, -1)


def element(random):
    """A structuring element: a square, a disc or a flat ellipse."""
    side = int(random.integers(*ELEMENTS))
    shape, size = pick(random, (
        (cv2.MORPH_RECT, (side, side)), (cv2.MORPH_ELLIPSE, (side, side)),
        (cv2.MORPH_ELLIPSE, (side, side // 2)),
        (cv2.MORPH_ELLIPSE, (side // 2, side))))
    return cv2.getStructuringElement(shape, size)


def perturb(mask, exact, target, random):
    """Dilate and erode random rectangles of a mask, in place.

    Ends when the IoU with `exact` is under `target`, at the latest after
    ROUNDS rounds.
    """
    height, width = mask.shape
    for _ in range(ROUNDS):
        for _ in range(RECTANGLES):
            x, y = random.integers(width), random.integers(height)
            right = random.integers(x, width) + 1
            bottom = random.integers(y, height) + 1
            part = mask[y:bottom, x:right]
            if chance(random, 0.25):
                part[random.integers(bottom - y), random.integers(right - x)
                     ] = 255 * random.integers(2)
            change = cv2.dilate if chance(random, 0.5) else cv2.erode
            part[:] = change(part, element(random))
        if iou(mask, exact) < target:
            break
    return mask


def paper(alpha, target, random, vertices=VERTICES):
    """The paper's perturbation, until the IoU is under `target`.

    In pictures of a megapixel and more, elements of a few pixels may not get
    there before the rounds end.
    """
    exact = binary(alpha)
    mask = simplified(exact, random, vertices)
    if iou(mask, exact) < target:
        return mask
    return perturb(mask, exact, target, random)


# ------------------------------------------------- what real segmenters do


def low_resolution(alpha, side, random=None):
    """What a segmenter gives whose output has a long side of `side`.

    Averaged over areas, thresholded at one half, enlarged bilinearly and
    thresholded again. With a generator, no two segmenters are the same: the
    phase of the grid, the thresholds, noise, the way of enlarging, and
    whether scores or decisions are enlarged.
    """
    height, width = alpha.shape
    scale = side / max(height, width)
    if scale >= 1:
        return binary(alpha)
    small = (max(1, round(width * scale)), max(1, round(height * scale)))
    phase = (0, 0)
    noise, threshold, last, hard = 0, 0.5, 0.5, True
    enlarge = cv2.INTER_LINEAR
    if random is not None:
        phase = tuple(random.integers(-math.floor(0.5 / scale),
                                      math.floor(0.5 / scale) + 1, 2))
        if chance(random, 0.4):
            noise = random.uniform(0, 0.25)
        threshold = random.uniform(0.35, 0.65)
        hard = chance(random, 0.6)
        last = random.uniform(0.4, 0.6)
        enlarge = pick(random, (cv2.INTER_NEAREST, cv2.INTER_LINEAR,
                                cv2.INTER_CUBIC))
        alpha = shifted(alpha, phase)
    scores = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
    scores = scores.astype(numpy.float32) / 255
    if noise:
        scores += noise * random.standard_normal(scores.shape,
                                                 dtype=numpy.float32)
    if hard:
        scores = (scores > threshold).astype(numpy.float32)
    scores = cv2.resize(scores, (width, height), interpolation=enlarge)
    mask = (scores > last).astype(numpy.uint8) * 255
    return shifted(mask, (-phase[0], -phase[1])) if any(phase) else mask


def shifted(alpha, shift):
    """Move a picture by whole pixels (dx, dy), replicating its borders."""
    height, width = alpha.shape
    rows = numpy.clip(numpy.arange(height) - shift[1], 0, height - 1)
    columns = numpy.clip(numpy.arange(width) - shift[0], 0, width - 1)
    return alpha[rows[:, None], columns]


def late(alpha, shift):
    """A mask that comes late: moved by whole pixels (dx, dy)."""
    return shifted(binary(alpha), shift)


def blob(alpha, random):
    """A smooth outline that wanders, without the thin parts."""
    sigma = unit(alpha) * log_uniform(random, 1.5, 12)
    # a blur this wide needs no full resolution
    step = max(1, int(sigma / 3))
    size = tuple(max(1, length // step) for length in alpha.shape[::-1])
    scores = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    scores = cv2.GaussianBlur(scores.astype(numpy.float32) / 255, (0, 0),
                              sigma / step, borderType=cv2.BORDER_REPLICATE)
    cells = int(random.integers(3, 17))
    scores += random.uniform(0, 0.22) * field(random, scores.shape, cells)
    scores = cv2.resize(scores, alpha.shape[::-1],
                        interpolation=cv2.INTER_LINEAR)
    return (scores > random.uniform(0.35, 0.65)).astype(numpy.uint8) * 255


def speckle(alpha, random):
    """As background subtraction makes it.

    Ragged, with dots around and holes within, and with parts missing: those
    whose contrast with what is behind them is low.
    """
    grain = max(1, round(unit(alpha) * log_uniform(random, 1, 3)))
    size = tuple(-(-length // grain) for length in alpha.shape[::-1])
    noise = random.standard_normal(size[::-1], dtype=numpy.float32)
    noise = cv2.resize(noise, alpha.shape[::-1],
                       interpolation=cv2.INTER_LINEAR)
    noise /= noise.std() + 1e-6
    contrast = (random.uniform(0.8, 2)
                + random.uniform(0.2, 1.2) * field(random, alpha.shape, 5))
    clutter = (random.uniform(-3, -1.6)
               + random.uniform(0.2, 1) * field(random, alpha.shape, 7))
    share = alpha.astype(numpy.float32) / 255
    mask = noise + share * contrast + (1 - share) * clutter > 0
    mask = mask.astype(numpy.uint8) * 255
    if chance(random, 0.5):  # many clean up after themselves
        mask = cv2.medianBlur(mask, pick(random, (3, 5)))
    if chance(random, 0.3):
        ellipse = disc(pick(random, (3, 5, 7)))
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, ellipse)
    return mask


def disc(side):
    """A filled ellipse, as a structuring element."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))


def missing_limbs(alpha, random):
    """All thin parts, or some of them, are not found."""
    mask = binary(alpha)
    side = 2 * round(unit(alpha) * log_uniform(random, 1, 9)) + 1
    core = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(side),
                            borderType=cv2.BORDER_REPLICATE)
    if chance(random, 0.4):
        return core
    count, labels = cv2.connectedComponents(mask & ~core)
    lost = random.random(count) < random.uniform(0.2, 0.9)
    lost[0] = False
    return numpy.where(lost[labels], 0, mask).astype(numpy.uint8)


# ------------------------------------- what may befall any of them as well


def filled_holes(mask, random):
    """Close holes: all of them, or each with some probability."""
    count, labels, box, _ = cv2.connectedComponentsWithStats(
        cv2.bitwise_not(mask), connectivity=4)
    height, width = mask.shape
    enclosed = ((box[:, 0] > 0) & (box[:, 1] > 0)
                & (box[:, 0] + box[:, 2] < width)
                & (box[:, 1] + box[:, 3] < height))
    if chance(random, 0.5):
        enclosed &= random.random(count) < 0.6
    return mask | (enclosed[labels].astype(numpy.uint8) * 255)


def punched(mask, exact, random):
    """Add or remove an ellipse or two around the exact contour."""
    outlines = contours(exact)
    if not outlines:
        return mask
    mask = mask.copy()
    one = unit(mask)
    for _ in range(random.integers(1, 4)):
        x, y = pick(random, pick(random, outlines)) + random.normal(
            0, 8 * one, 2)
        axes = tuple(2 + int(one * log_uniform(random, 2, 26))
                     for _ in range(2))
        cv2.ellipse(mask, (int(x), int(y)), axes, random.uniform(0, 180), 0,
                    360, int(255 * random.integers(2)), -1)
    return mask


def with_distractor(mask, distractor, random):
    """Add a part of another object."""
    part = (distractor > 127) & (field(random, mask.shape, 4) > -0.3)
    return mask | (part.astype(numpy.uint8) * 255)


# --------------------------------------------------------- training mixture


def draw(alpha, random, ease):
    """A mask of some kind; `ease` in 0..1 takes the worst away."""
    kind = pick_weighted(random, WEIGHTS)
    if kind == "low-resolution":
        factor = log_uniform(random, 3, 26 - 20 * ease)
        side = max(2, round(max(alpha.shape) / factor))
        return low_resolution(alpha, side, random)
    if kind == "paper":
        low, high = (0.8, 1) if chance(random, 0.75) else (0.55, 0.8)
        vertices = VERTICES * log_uniform(random, 0.5, 3)
        return paper(alpha, random.uniform(low, high), random, vertices)
    if kind == "blob":
        return blob(alpha, random)
    if kind == "speckle":
        return speckle(alpha, random)
    if kind == "limbs":
        return missing_limbs(alpha, random)
    mask = alpha
    if chance(random, 0.5):  # late, and no better than other masks
        side = max(2, round(max(alpha.shape) / log_uniform(random, 2, 12)))
        mask = low_resolution(alpha, side, random)
    reach = 8 * unit(alpha) * (1 - 0.7 * ease)
    return late(mask, numpy.rint(random.uniform(-reach, reach, 2)).astype(int))


def sample(alpha, random, distractor=None):
    """A training mask and its IoU, from about one half to 1.

    `distractor` is the alpha of another object, of which the mask may
    contain a part.
    """
    exact = binary(alpha)
    tries = 8
    for attempt in range(tries):
        mask = draw(alpha, random, attempt / tries)
        if chance(random, 0.1):
            mask = filled_holes(mask, random)
        if chance(random, 0.2):
            mask = punched(mask, exact, random)
        if distractor is not None and chance(random, 0.25):
            mask = with_distractor(mask, distractor, random)
        if chance(random, 0.12):
            shift = numpy.rint(random.normal(0, 3 * unit(alpha), 2))
            mask = late(mask, shift.astype(int))
        similarity = iou(mask, exact)
        if similarity > LOWEST_IOU:
            return mask, similarity
    return exact, 1.0
