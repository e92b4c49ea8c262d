# SPDX-License-Identifier: LGPL-2.1-or-later
"""Contact sheets: pictures and masks side by side, whole and in detail."""

import cv2
import numpy

import metrics

CELL = (300, 225)  # width, height of a picture, pixels
GAP = 6
CAPTION = 22  # height
DETAIL = 0.2  # side of the detail, of the picture's long side
MISSED, ADDED = (80, 80, 255), (255, 160, 60)  # BGR: red, blue


def painted(mask, truth=None):
    """Return a mask in colour: what is wrong is red (missed), blue (added).
    """
    picture = cv2.cvtColor(mask, cv2.COLOR_GRAY2BGR)
    if truth is not None:
        mask, truth = metrics.foreground(mask), metrics.foreground(truth)
        picture[truth > mask] = MISSED
        picture[truth < mask] = ADDED
    return picture


def detail(difference):
    """Return the slices (y, x) of the part that differs most.

    `difference` is HxW, uint8.
    """
    height, width = difference.shape
    side = DETAIL * max(height, width)
    box = (min(width, round(side)), min(height, round(side * CELL[1]
                                                      / CELL[0])))
    density = cv2.boxFilter(difference, cv2.CV_32F, box)
    y, x = numpy.unravel_index(density.argmax(), density.shape)
    x = min(max(0, x - box[0] // 2), width - box[0])
    y = min(max(0, y - box[1] // 2), height - box[1])
    return slice(y, y + box[1]), slice(x, x + box[0])


def cell(picture):
    """Return a picture fitted into a cell."""
    height, width = picture.shape[:2]
    scale = min(CELL[0] / width, CELL[1] / height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    fitted = cv2.resize(picture, size, interpolation=cv2.INTER_AREA
                        if scale < 1 else cv2.INTER_NEAREST)
    result = numpy.full((CELL[1], CELL[0], 3), 255, numpy.uint8)
    x, y = (CELL[0] - size[0]) // 2, (CELL[1] - size[1]) // 2
    result[y:y + size[1], x:x + size[0]] = fitted
    return result


def line(text, width):
    """Return a line of text."""
    result = numpy.full((CAPTION, width, 3), 255, numpy.uint8)
    cv2.putText(result, text, (2, CAPTION - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45,
                (0, 0, 0), 1, cv2.LINE_AA)
    return result


def strip(cells):
    """Return cells side by side."""
    gap = numpy.full((cells[0].shape[0], GAP, 3), 255, numpy.uint8)
    return cv2.hconcat([part for one in cells for part in (one, gap)])


def row(caption, pictures, difference):
    """Return one row: `pictures` (BGR) whole, and their detail below."""
    part = detail(difference)
    whole = strip([cell(picture) for picture in pictures])
    close = strip([cell(picture[part]) for picture in pictures])
    return cv2.vconcat([line(caption, whole.shape[1]), whole,
                        line("", whole.shape[1])[:GAP], close])


def write(path, titles, rows):
    """Write the rows below the titles of their columns, as PNG."""
    head = strip([line(title, CELL[0]) for title in titles])
    good, data = cv2.imencode(".png", cv2.vconcat([head, *rows]))
    assert good
    with open(path, "wb") as file:
        file.write(data)
