#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/coarse.py, in TAP: coarse masks of hand-made alphas."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "models"))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.dont_write_bytecode = True

import tap  # noqa: E402

tap.need("cv2", "numpy")

import cv2  # noqa: E402
import numpy  # noqa: E402

import coarse  # noqa: E402

SIDE = coarse.SIDE


class Script:
    """Stands in for a generator: plays back what it is told to draw."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)

    def integers(self, low, high=None):
        value = self.values.pop(0)
        if high is None:
            low, high = 0, low
        assert low <= value < high, f"{value} is not in {low}..{high - 1}"
        return value


def generator(seed=0):
    return numpy.random.default_rng(seed)


def rows(*lines):
    """A mask from strings of `#` and anything else."""
    return numpy.array([[255 * (sign == "#") for sign in line]
                        for line in lines], numpy.uint8)


def blank():
    return numpy.zeros((SIDE, SIDE), numpy.uint8)


def disc(radius=60, side=SIDE):
    """A disc amid a square."""
    return cv2.circle(numpy.zeros((side, side), numpy.uint8),
                      (side // 2, side // 2), radius, 255, -1)


def lollipop():
    """A disc on a thin stick."""
    return cv2.line(disc(40), (112, 112), (112, 215), 255, 3)


def ring():
    """A disc with a hole."""
    return cv2.circle(disc(60), (112, 112), 12, 0, -1)


def scene():
    """Several shapes at once, with soft edges."""
    alpha = ring()
    cv2.line(alpha, (10, 10), (210, 60), 255, 5)
    cv2.rectangle(alpha, (150, 150), (223, 223), 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), 1)


def is_mask(mask, alpha):
    """Whether it has the alpha's shape and but two values."""
    return (mask.shape == alpha.shape and mask.dtype == numpy.uint8
            and not set(numpy.unique(mask)) - {0, 255})


def within(inner, outer):
    return not (inner & ~outer).any()


def test_iou():
    one = rows("##..", "##..")
    other = rows(".##.", ".##.")
    yield "IoU of two thirds apart", coarse.iou(one, other) == 2 / 6
    yield "IoU of a mask with itself", coarse.iou(one, one) == 1
    yield "IoU of two empty masks", coarse.iou(one & 0, one & 0) == 1
    yield "IoU with an empty mask", coarse.iou(one, one & 0) == 0
    levels = numpy.array([[0, 127, 128, 255]], numpy.uint8)
    yield ("the threshold is one half",
           coarse.binary(levels).tolist() == [[0, 0, 255, 255]])


def naive(mask, element, largest):
    """Dilate, or else erode, pixel by pixel; outside counts for nothing."""
    result = mask.copy()
    height, width = element.shape
    for y, x in numpy.ndindex(mask.shape):
        covered = [mask[y + j - height // 2, x + i - width // 2]
                   for j, i in zip(*numpy.nonzero(element))
                   if 0 <= y + j - height // 2 < mask.shape[0]
                   and 0 <= x + i - width // 2 < mask.shape[1]]
        result[y, x] = max(covered) if largest else min(covered)
    return result


def once(mask, *draws):
    """One round of one rectangle, with scripted draws."""
    kept = coarse.ROUNDS, coarse.RECTANGLES
    coarse.ROUNDS = coarse.RECTANGLES = 1
    try:
        script = Script(*draws)
        result = coarse.perturb(mask.copy(), mask, 0, script)
        assert not script.values, "not all draws were made"
    finally:
        coarse.ROUNDS, coarse.RECTANGLES = kept
    return result


def test_perturb():
    """The paper's rounds, against morphology done by hand."""
    mask = (generator(3).random((20, 24)) < 0.5).astype(numpy.uint8) * 255
    # left 4, top 3, last column 19, last row 14; no pixel set; dilate or
    # erode; the element's side; its shape
    for change, draw in (("dilation", 0.1), ("erosion", 0.9)):
        for shape, size in enumerate(((5, 5), (5, 5), (5, 2), (2, 5))):
            element = cv2.getStructuringElement(
                cv2.MORPH_RECT if shape == 0 else cv2.MORPH_ELLIPSE, size)
            expected = mask.copy()
            expected[3:15, 4:20] = naive(mask[3:15, 4:20], element,
                                         change == "dilation")
            result = once(mask, 4, 3, 19, 14, 0.9, draw, 5, shape)
            yield (f"{change} by element {shape}",
                   numpy.array_equal(result, expected))

    # a pixel set at (2, 2), then dilated by a square of 3
    expected = rows("......", ".###..", ".###..", ".###..", "......")
    result = once(expected & 0, 0, 0, 5, 4, 0.1, 1, 2, 2, 0.1, 3, 0)
    yield "a pixel set first", numpy.array_equal(result, expected)

    random = generator()
    sides = [max(coarse.element(random).shape) for _ in range(400)]
    yield ("elements have sides of 3 to 9",
           set(sides) == set(range(3, 10)))


def test_thinned():
    """What becomes of one contour."""
    contour = max(coarse.contours(lollipop()), key=len)
    count = len(contour)
    order = {tuple(point): index for index, point in enumerate(contour)}
    stretch = int(0.1 * count)
    result = coarse.thinned(contour, generator(), vertices=1)
    places = numpy.array([order[tuple(point)] for point in result])
    # a stick's pixels may be passed twice, there and back
    yield "a tenth of the vertices is cut out", (
        len(result) == count - stretch
        and (numpy.diff(places) > stretch).sum() <= 1)
    few = [len(coarse.thinned(contour, generator(seed)))
           for seed in range(10)]
    yield ("a tenth of the rest is kept",
           set(few) == {int(0.1 * (count - stretch))})

    # around the stick's tip, the ends of a stretch are closest
    ends = [coarse.thinned(contour, generator(seed), vertices=1)[:, 1].max()
            for seed in range(20)]
    yield "the end of a limb is what is cut out", (
        numpy.median(ends) < 214)


def test_paper():
    """The statistics of the whole perturbation."""
    for name, alpha in (("a disc", disc()), ("a scene", scene())):
        random = generator(1)
        targets = random.uniform(0.8, 1, 40)
        masks = [coarse.paper(alpha, target, random) for target in targets]
        found = numpy.array([coarse.iou(mask, alpha) for mask in masks])
        below = targets - found
        print(f"# {name}: {below.mean():.3f} below the target on average, "
              f"{below.max():.3f} at most")
        yield f"{name}: masks", all(is_mask(mask, alpha) for mask in masks)
        yield f"{name}: IoU under the target", (below > 0).all()
        yield (f"{name}: and near it", below.mean() < 0.08
               and below.max() < 0.35)
    tiny = blank()
    tiny[100:102, 100:102] = 255
    yield "what has no contour left", is_mask(
        coarse.paper(tiny, 0.85, generator()), tiny)
    yield "an empty alpha", is_mask(
        coarse.paper(blank(), 0.85, generator()), blank())


def test_low_resolution():
    """Cells of 4 x 4, by hand."""
    def left(width):
        alpha = numpy.zeros((8, 16), numpy.uint8)
        alpha[:, :width] = 255
        return alpha

    # enlarged, the edge is where the values cross one half: between cells
    for width, expected in ((4, 4), (5, 4), (7, 8), (8, 8), (14, 16)):
        yield (f"an edge at {width}", numpy.array_equal(
            coarse.low_resolution(left(width), 4), left(expected)))
    yield ("an edge the other way", numpy.array_equal(
        coarse.low_resolution(left(5).T.copy(), 4), left(4).T))

    corner = numpy.zeros((8, 8), numpy.uint8)
    corner[:4, :4] = 255
    # bilinear from [[1, 0], [0, 0]]: (1 - u) (1 - v) at u, v in eighths
    yield ("a corner is rounded", numpy.array_equal(
        coarse.low_resolution(corner, 2),
        rows("####....", "####....", "####....", "###.....", "........",
             "........", "........", "........")))

    line = blank()
    line[:, 100:103] = 255
    yield "a thin line is lost", not coarse.low_resolution(line, 28).any()
    yield "a small hole is filled", coarse.low_resolution(~line, 28).all()
    noise = generator().integers(0, 256, (50, 60), numpy.uint8)
    for side in (60, 75):
        yield (f"a segmenter of {side} pixels loses nothing of 60",
               numpy.array_equal(coarse.low_resolution(noise, side),
                                 coarse.binary(noise)))

    alpha = scene()
    random = generator(2)
    masks = [coarse.low_resolution(alpha, 20, random) for _ in range(20)]
    found = [coarse.iou(mask, alpha) for mask in masks]
    yield "at random: masks", all(is_mask(mask, alpha) for mask in masks)
    yield ("at random: no two alike",
           len({mask.tobytes() for mask in masks}) == len(masks))
    yield "at random: close", min(found) > 0.5
    # cells of 28 px average noise and thresholds out: the phase is undone
    square = blank()
    square[56:168, 56:168] = 255
    masks = [coarse.low_resolution(square, 56, random) for _ in range(60)]
    middle = numpy.mean([numpy.argwhere(mask).mean(0) for mask in masks], 0)
    yield ("at random: in place on average",
           numpy.abs(middle - 111.5).max() < 1)


def test_late():
    alpha = rows("#....",
                 ".#...",
                 "..#..",
                 "...##")
    yield ("to the right and up", numpy.array_equal(
        coarse.late(alpha, (2, -1)), rows("...#.", "....#", ".....",
                                          ".....")))
    yield ("to the left and down", numpy.array_equal(
        coarse.late(alpha, (-1, 1)), rows(".....", ".....", "#....",
                                          ".#...")))
    yield ("replicated borders", numpy.array_equal(
        coarse.late(alpha, (-3, -9)), rows(*4 * ["#####"])))
    yield ("thresholded", numpy.array_equal(
        coarse.late(alpha // 2, (0, 0)), alpha & 0))


def test_kinds():
    """What each of the other kinds does to known shapes."""
    stick = (slice(190, 210), slice(105, 120))
    exact = lollipop()
    seeds = range(20)

    blobs = [coarse.blob(exact, generator(seed)) for seed in seeds]
    yield "blobs are masks", all(is_mask(mask, exact) for mask in blobs)
    yield ("blobs lose the stick and keep the disc",
           sum(not mask[stick].any() for mask in blobs) > 10
           and all(mask[112, 112] for mask in blobs))
    large = disc(240, 4 * SIDE)
    yield ("blobs are as coarse at any size", numpy.isclose(
        numpy.mean([coarse.iou(coarse.blob(large, generator(seed)), large)
                    for seed in seeds]),
        numpy.mean([coarse.iou(coarse.blob(disc(), generator(seed)), disc())
                    for seed in seeds]), atol=0.03))

    speckles = [coarse.speckle(disc(), generator(seed)) for seed in seeds]
    inside = numpy.array([mask[disc() > 0].mean() / 255
                          for mask in speckles])
    outside = numpy.array([mask[disc() == 0].mean() / 255
                           for mask in speckles])
    yield "speckle is a mask", all(is_mask(mask, disc()) for mask in speckles)
    yield ("speckle has holes within and dots around",
           (inside < 0.999).sum() > 10 and (outside > 0.001).sum() > 10)
    yield "speckle is mostly right", (inside > 0.6).all() and (
        outside < 0.2).all()

    lame = [coarse.missing_limbs(exact, generator(seed)) for seed in seeds]
    yield ("limbs are lost, nothing is won",
           all(within(mask, exact) for mask in lame)
           and 5 < sum(not mask[stick].any() for mask in lame)
           and all(mask[112, 112] for mask in lame))

    holed = ring()
    cv2.rectangle(holed, (0, 100), (60, 120), 255, -1)
    cv2.rectangle(holed, (0, 105), (40, 110), 0, -1)  # a bay, open at the left
    full = [coarse.filled_holes(holed, generator(seed)) for seed in seeds]
    yield ("holes are filled, bays are not",
           5 < sum(bool(mask[112, 112]) for mask in full)
           and all(within(holed, mask) for mask in full)
           and not any(mask[107, 20] or mask[5, 5] for mask in full))
    yield "all is a mask's hole-free self", numpy.array_equal(
        coarse.filled_holes(~blank(), generator()), ~blank())

    wounds = [coarse.punched(disc(), disc(), generator(seed))
              for seed in seeds]
    yield ("ellipses are added and removed",
           any(not within(mask, disc()) for mask in wounds)
           and any(not within(disc(), mask) for mask in wounds)
           and all(coarse.iou(mask, disc()) > 0.4 for mask in wounds))
    yield "nothing to punch", not coarse.punched(
        blank(), blank(), generator()).any()

    other = blank()
    other[:60] = 255
    more = [coarse.with_distractor(disc(), other, generator(seed))
            for seed in seeds]
    gained = [numpy.count_nonzero(mask & ~disc() & other) for mask in more]
    yield ("a part of a distractor is added",
           all(within(disc(), mask) and within(mask, disc() | other)
               for mask in more)
           and 0 < numpy.mean(gained) < numpy.count_nonzero(other))


def test_sample():
    """The training mixture."""
    alphas = [scene(), disc(), lollipop(), ring(), ~disc(100)]
    kept = [alpha.copy() for alpha in alphas]
    other = blank()
    other[:, :50] = 255
    random = generator(4)
    drawn = [(alpha, *coarse.sample(alpha, random, distractor))
             for alpha in alphas for distractor in (None, other)
             for _ in range(20)]
    found = numpy.array([similarity for _, _, similarity in drawn])
    print("# IoU in tenths of the samples:",
          *numpy.percentile(found, range(0, 101, 10)).round(2))
    yield "masks", all(is_mask(mask, alpha) for alpha, mask, _ in drawn)
    yield "with their IoU", all(
        coarse.iou(mask, alpha) == similarity
        for alpha, mask, similarity in drawn)
    yield "none is hopeless", found.min() > coarse.LOWEST_IOU
    yield ("they span the range", numpy.percentile(found, 10) < 0.75
           and numpy.percentile(found, 90) > 0.95)
    yield "few are exact", (found == 1).mean() < 0.1
    yield "the alphas are untouched", all(
        map(numpy.array_equal, alphas, kept))

    again = generator(4)
    yield "the same seed gives the same masks", all(
        numpy.array_equal(mask, coarse.sample(alpha, again, distractor)[0])
        for (alpha, mask, _), distractor in zip(
            drawn, 20 * [None] + 20 * [other]))
    # an alpha that no mask is like
    dust = blank()
    dust[::9, ::9] = 255
    mask, similarity = coarse.sample(dust, generator())
    yield "at worst the exact mask", (similarity == coarse.iou(mask, dust)
                                      > coarse.LOWEST_IOU)


def main():
    cv2.setNumThreads(1)
    return tap.report(tap.checks_of((
        test_iou, test_perturb, test_thinned, test_paper, test_low_resolution,
        test_late, test_kinds, test_sample)))


if __name__ == "__main__":
    sys.exit(main())
