# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two cheap refinements to compare with: guided filter and GrabCut.

Both take one length, in long sides of the image. Which is best depends on
how far off the masks are, so each set of pictures gets the best of GRID.
"""

import cv2
import numpy

import metrics

# Squares of the value range. From 1e-5 to 1e-3 the mean mBA of each
# set of photographs that was tried is within a point.
EPSILON = 1e-4


def guided_filter(image, mask, length):
    """Refine a mask, HxW, by an image, HxWx3 (He et al., ECCV 2010)."""
    pixels = max(1, round(length * max(mask.shape)))
    return cv2.ximgproc.guidedFilter(image, mask, pixels, EPSILON * 255 ** 2)


def grabcut(image, mask, length):
    """Refine a mask by GrabCut (Rother et al., SIGGRAPH 2004).

    What is farther than `length` from the mask's boundary is sure to be
    right; nearer, the mask is the start.
    """
    side = 2 * max(1, round(length * max(mask.shape))) + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    labels = numpy.where(metrics.foreground(mask), cv2.GC_PR_FGD,
                         cv2.GC_PR_BGD).astype(numpy.uint8)
    labels[metrics.foreground(cv2.erode(mask, disc)) == 1] = cv2.GC_FGD
    labels[metrics.foreground(cv2.dilate(mask, disc)) == 0] = cv2.GC_BGD
    if not (labels & 1).any() or (labels & 1).all():
        return mask  # it needs both
    cv2.setRNGSeed(0)
    cv2.grabCut(image, labels, None, numpy.zeros((1, 65)),
                numpy.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    return (labels & 1) * numpy.uint8(255)


GRID = {"guided": (guided_filter, (0.01, 0.02, 0.04, 0.08, 0.16)),
        "grabcut": (grabcut, (0.01, 0.05))}
