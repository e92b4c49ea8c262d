#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/metrics.py, in TAP: by hand, and against OpenCV."""

import math
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "..", "..", "models"))
sys.path.insert(0, os.path.join(HERE, ".."))

import tap  # noqa: E402

tap.need("cv2", "numpy")

import cv2  # noqa: E402
import numpy  # noqa: E402

import metrics  # noqa: E402


def square(left, top, side=10, size=20, value=255):
    """A square on black, `size` x `size`."""
    mask = numpy.zeros((size, size), numpy.uint8)
    mask[top:top + side, left:left + side] = value
    return mask


def close(one, two, tolerance=1e-9):
    return abs(one - two) <= tolerance


def test_overlap():
    truth = square(5, 5)
    yield ("the same mask", metrics.overlap(truth, truth) == (100, 100))
    yield ("moved by one pixel",
           metrics.overlap(square(6, 5), truth) == (90, 110))
    yield ("apart", metrics.overlap(square(0, 0, 5), truth) == (0, 125))
    yield ("128 is background, 129 foreground",
           metrics.overlap(square(5, 5, value=128), truth) == (0, 100)
           and metrics.overlap(square(5, 5, value=129), truth) == (100, 100))
    yield "IoU", metrics.ratio(90, 110) == 9 / 11
    yield "no IoU of nothing", math.isnan(metrics.ratio(0, 0))


def test_radii():
    # as the published code has them
    for width, height, expected in ((500, 375, [1, 1, 1, 2, 2]),
                                    (3840, 2160, [1, 4, 8, 12, 16]),
                                    (854, 480, [1, 1, 2, 3, 3]),
                                    (40, 30, [1, 1, 1, 1, 1])):
        yield (f"radii at {width}x{height}",
               metrics.radii(width, height) == expected)


def slow_band(truth, radius):
    """Pixels whose neighbourhood holds both sides, pixel by pixel.

    The neighbourhood is OpenCV's ellipse, cut off at the border.
    """
    side = 2 * radius + 1
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    height, width = truth.shape
    band = numpy.zeros(truth.shape, bool)
    for y in range(height):
        for x in range(width):
            seen = {bool(truth[y + j, x + i] > 128)
                    for j in range(-radius, radius + 1)
                    for i in range(-radius, radius + 1)
                    if ellipse[j + radius, i + radius]
                    and 0 <= y + j < height and 0 <= x + i < width}
            band[y, x] = len(seen) == 2
    return band


def slow_accuracy(mask, truth):
    """The mean boundary accuracy with bands by `slow_band`."""
    shares = []
    for radius in metrics.radii(*truth.shape[::-1]):
        band = slow_band(truth, radius)
        shares.append(((mask > 128) == (truth > 128))[band].mean())
    return sum(shares) / len(shares)


def test_boundary_accuracy():
    truth = square(5, 5)
    yield "perfect", metrics.boundary_accuracy(truth, truth) == 1
    # At this size each band is 36 pixels inside and 40 outside; a step to
    # the right makes 10 of each wrong.
    yield ("moved by one pixel", close(metrics.boundary_accuracy(
        square(6, 5), truth), 56 / 76))
    yield ("inverted", metrics.boundary_accuracy(255 - truth, truth) == 0)
    yield ("far from the boundary nothing counts", metrics.boundary_accuracy(
        truth | square(0, 0, 2) ^ square(9, 9, 2), truth) == 1)
    for value in (0, 255):
        empty = numpy.full((20, 20), value, numpy.uint8)
        yield (f"not defined where all is {value}",
               math.isnan(metrics.boundary_accuracy(truth, empty)))

    random = numpy.random.default_rng(5)
    # wide and low, so that the radii differ: 1, 1, 2, 2, 3
    truth = cv2.GaussianBlur(
        random.integers(0, 256, (14, 1106), numpy.uint8), (0, 0), 3)
    truth = cv2.normalize(truth, None, 0, 255, cv2.NORM_MINMAX)
    mask = numpy.roll(truth, 2, axis=1)
    yield ("a random mask, against a slow way",
           metrics.radii(1106, 14) == [1, 1, 2, 2, 3]
           and close(metrics.boundary_accuracy(mask, truth),
                     slow_accuracy(mask, truth)))
    yield ("bands computed before", metrics.boundary_accuracy(
        mask, truth, metrics.boundary_bands(truth))
        == metrics.boundary_accuracy(mask, truth))


def test_boundary_iou():
    truth = square(5, 5)
    yield "perfect", metrics.boundary_iou(truth, truth) == 1
    # edges of 36 pixels; they share 9 above and 9 below
    yield ("moved by one pixel",
           close(metrics.boundary_iou(square(6, 5), truth), 18 / 54))
    yield ("not defined without foreground", math.isnan(
        metrics.boundary_iou(0 * truth, 0 * truth)))
    whole = numpy.full((20, 20), 255, numpy.uint8)
    yield ("the border is an edge",
           metrics.inner_edge(whole).sum() == 4 * 19)
    # 2 % of the diagonal of 300x400 is 10 pixels
    edge = metrics.inner_edge(numpy.full((300, 400), 255, numpy.uint8))
    yield ("the edge's width", edge.sum() == 300 * 400 - 280 * 380)


def test_change():
    still, other = square(5, 5), square(5, 5)
    other[7, 7] = 0
    flow = numpy.zeros((20, 20, 2), numpy.float32)
    yield ("dtSSD of one pixel in 400",
           close(metrics.dtssd(still, other, still, still), 5))
    yield ("dtSSD of the true change",
           metrics.dtssd(still, other, still, other) == 0)
    # squares of 3: 36 pixels inside and 44 outside, of which one is wrong
    other = square(5, 5)
    other[5, 7] = 0
    yield ("flicker of one pixel in 80", close(
        metrics.flicker(still, other, still, still, flow), 100 / 80))
    yield ("flicker of the truth", metrics.flicker(
        still, other, still, other, flow) == 0)
    # the notch adds the three pixels within it to what is near an edge
    yield ("less than the truth's is negative", close(
        metrics.flicker(still, still, still, other, flow), -100 / 83))
    yield ("not defined without an edge", math.isnan(
        metrics.flicker(still, other, 0 * still, 0 * still, flow)))


def test_motion():
    """A textured square moves by (3, 2) on a textured ground."""
    random = numpy.random.default_rng(7)

    def texture(height, width):
        noise = random.integers(0, 256, (height, width, 3), numpy.uint8)
        noise = cv2.GaussianBlur(noise, (0, 0), 2)
        return cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)

    ground, figure = texture(120, 160), texture(60, 60)
    images, truths, moved = [], [], []
    for step in range(2):
        x, y = 40 + 3 * step, 30 + 2 * step
        image = ground.copy()
        image[y:y + 60, x:x + 60] = figure
        images.append(image)
        truths.append(square(x, y, 60, 160)[:120])
        moved.append(square(x + 2, y + 1, 60, 160)[:120])
    flow = metrics.motion_of(truths[1], metrics.motion(*images))
    for where, place in (("inside", (62, 73)), ("outside", (62, 106))):
        yield (f"motion {where}",
               numpy.abs(flow[place] - (-3, -2)).max() < 0.25)
    steady = metrics.flicker(*moved, *truths, flow)
    boiling = metrics.flicker(moved[0], truths[1], *truths, flow)
    print(f"# steady {steady:.2f}, boiling {boiling:.2f}")
    yield "an outline that is off but moves along is steady", steady < 0.5
    yield "one that jumps is not", boiling > 5
    yield ("for dtSSD both are wrong",
           metrics.dtssd(*moved, *truths) > 5)


def main():
    return tap.report(tap.checks_of((
        test_overlap, test_radii, test_boundary_accuracy, test_boundary_iou,
        test_change, test_motion)))


if __name__ == "__main__":
    sys.exit(main())
