# SPDX-License-Identifier: LGPL-2.1-or-later
"""How good a mask is, and how steady a video's masks are.

A mask is a uint8 array HxW, 0..255; `truth` is the one that it should be. A
value above THRESHOLD is foreground. Shares are 0..1, higher is better; what
is measured over time is in percent of the value range, lower is better. What
is not defined (no boundary, no foreground) is NaN.
"""

import math

import cv2
import numpy

THRESHOLD = 128
RADII = 5  # of mean boundary accuracy
NEAR = 0.02  # of the diagonal: what Boundary IoU and flicker call near


def foreground(mask):
    """Return a uint8 array of 0 and 1."""
    return (mask > THRESHOLD).astype(numpy.uint8)


# ----------------------------------------------------------- one picture


def overlap(mask, truth):
    """Return the pixels of intersection and of union.

    The IoU of a set is pooled: the sum of its intersections by that of its
    unions, as in the paper's evaluation.
    """
    mask, truth = foreground(mask), foreground(truth)
    return cv2.countNonZero(mask & truth), cv2.countNonZero(mask | truth)


def ratio(intersection, union):
    """Return the IoU, of two empty masks NaN."""
    return intersection / union if union else math.nan


def radii(width, height):
    """Return the radii of the bands of mean boundary accuracy, pixels.

    These are the published code's, and those that papers' figures are made
    with; the paper's text has 5 radii from 3 to (width + height) / 300.
    """
    largest = (width + height) / 300
    return [1 + int((largest - 1) / RADII * i) for i in range(RADII)]


def boundary_bands(truth):
    """Return the bands of mean boundary accuracy, as bool arrays.

    A band of radius r is the morphological gradient of the foreground with
    a filled ellipse of side 2r + 1.
    """
    truth = foreground(truth)
    bands = []
    for radius in radii(*truth.shape[::-1]):
        ellipse = cv2.getStructuringElement(
            cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
        bands.append(cv2.morphologyEx(truth, cv2.MORPH_GRADIENT, ellipse) > 0)
    return bands


def boundary_accuracy(mask, truth, bands=None):
    """Return the mean boundary accuracy (mBA) of one picture.

    The share of pixels on the right side, in bands of five widths around
    the true boundary; the mean of the five. That of a set is the mean of
    its pictures'. `bands` saves time: `boundary_bands (truth)`.
    """
    right = foreground(mask) == foreground(truth)
    bands = bands or boundary_bands(truth)
    if not bands[0].any():
        return math.nan
    return float(numpy.mean([right[band].mean() for band in bands]))


def nearness(shape):
    """Return the distance that counts as near a boundary, whole pixels."""
    return max(1, round(NEAR * math.hypot(*shape)))


def inner_edge(mask):
    """Return the foreground that is near the background or the border."""
    shape = foreground(mask)
    padded = cv2.copyMakeBorder(shape, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    eroded = cv2.erode(padded, numpy.ones((3, 3), numpy.uint8),
                       iterations=nearness(shape.shape))
    return shape - eroded[1:-1, 1:-1]


def boundary_iou(mask, truth, edge=None):
    """Return the Boundary IoU (Cheng et al., CVPR 2021) of one picture.

    The IoU of what of each mask is within 2 % of the diagonal of its own
    edge, in steps to the eight neighbours. `edge` saves time: that of the
    truth.
    """
    own = inner_edge(mask)
    edge = inner_edge(truth) if edge is None else edge
    return ratio(cv2.countNonZero(own & edge), cv2.countNonZero(own | edge))


# ------------------------------------------------------- neighbouring frames


def dtssd(before, mask, truth_before, truth):
    """Return how far the change between two frames is from the true one.

    The root of the mean square difference over the picture, in percent
    (Erofeev et al., BMVC 2015). A contour that is off by the same pixels in
    both frames of a moving object counts as wrong twice.
    """
    before, mask, truth_before, truth = (
        array.astype(numpy.float32) / 255
        for array in (before, mask, truth_before, truth))
    difference = (mask - before) - (truth - truth_before)
    return 100 * math.sqrt(numpy.square(difference).mean(dtype=numpy.float64))


def motion(before, image):
    """Return from where in the frame before each pixel came: (dx, dy).

    Both HxWx3, BGR; the result is HxWx2, float32.
    """
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return flow.calc(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
                     cv2.cvtColor(before, cv2.COLOR_BGR2GRAY), None)


def motion_of(mask, flow):
    """Return the motion of the foreground, continued outwards.

    There it is that of the nearest pixel well inside (or of a part too thin
    to have any): a contour moves with what it encloses, and a flow is blurred
    across contours.
    """
    shape = foreground(mask)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    inside = cv2.erode(shape, disc)
    known = inside | (shape & ~cv2.dilate(inside, disc))
    if not known.any():
        return flow
    _, labels = cv2.distanceTransformWithLabels(
        1 - known, cv2.DIST_L2, cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_PIXEL)
    flows = numpy.empty((labels.max() + 1, 2), numpy.float32)
    flows[labels[known == 1]] = flow[known == 1]
    return flows[labels]


def edge_band(*masks):
    """Return what is near the boundary of any of the masks, as bool array."""
    side = 2 * nearness(masks[0].shape) + 1
    element = numpy.ones((side, side), numpy.uint8)
    return numpy.logical_or.reduce([
        cv2.morphologyEx(foreground(mask), cv2.MORPH_GRADIENT, element)
        for mask in masks])


def unrest(before, mask, flow, band):
    """Return how much a mask changes beyond what moves, within `band`.

    The mean absolute difference from the frame before's mask, moved by
    `flow`, in percent.
    """
    if not band.any():
        return math.nan
    height, width = mask.shape
    grid = numpy.dstack(numpy.meshgrid(numpy.arange(width, dtype=flow.dtype),
                                       numpy.arange(height, dtype=flow.dtype)))
    moved = cv2.remap(before, grid + flow, None, cv2.INTER_LINEAR,
                      borderMode=cv2.BORDER_REPLICATE)
    return 100 / 255 * float(cv2.absdiff(mask, moved)[band].mean())


def flicker(before, mask, truth_before, truth, flow):
    """Return by how much a mask is less steady than the truth.

    The unrest of the mask minus that of the truth, near the edges of the
    truth in either frame. `flow` is the true foreground's (`motion_of`).

    Without motion compensation, what moves changes most, and a contour that
    boils on top of that changes hardly more. What the compensation leaves
    (occlusion, errors of the flow) is in both terms. 0: as steady as the
    truth. Unlike for dtSSD, a contour that is off by the same pixels in all
    frames is steady.
    """
    band = edge_band(truth_before, truth)
    return (unrest(before, mask, flow, band)
            - unrest(truth_before, truth, flow, band))
