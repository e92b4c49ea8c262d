# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures with true masks, and the coarse masks that are made of those.

A set is a folder in one of these layouts, subfolders included:

    NAME_im.jpg beside NAME_gt.png
    a folder of images beside a folder of masks (named as in FOLDERS), with
    the same paths and names but for the extension

or two folders, IMAGES:MASKS. A folder in which the names are consecutive
numbers is a video, any other one holds still pictures.
"""

import dataclasses
import hashlib
import math
import os
import typing

import cv2
import numpy

import coarse

IMAGE, TRUTH = "_im", "_gt"
FOLDERS = (("images", "image", "im", "img", "frames", "jpegimages"),
           ("masks", "mask", "gt", "alpha", "annotations"))
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

LATE_FRAMES = 3  # by which a late mask of a video is late
LATE_SHIFT = 0.01  # by which one of a still is off, of the long side
TARGET_IOU = 0.85  # of the paper's perturbation


class SetError(Exception):
    """A set that cannot be read."""


@dataclasses.dataclass(frozen=True)
class Item:
    """A picture, or a frame of a video."""

    name: str  # within its set
    image: str  # path
    truth: str
    earlier: typing.Optional[str] = None  # a video's mask LATE_FRAMES before
    follows: bool = False  # the item before it is the frame before it

    def read(self):
        """Return the image, HxWx3 (BGR), and the true mask, HxW."""
        image = read_picture(self.image, cv2.IMREAD_COLOR)
        truth = read_picture(self.truth, cv2.IMREAD_GRAYSCALE)
        if truth.shape != image.shape[:2]:
            raise SetError(f"{self.truth}: {size(truth)} pixels, but its "
                           f"picture has {size(image)}")
        return image, truth


def size(array):
    """Return WIDTHxHEIGHT."""
    return f"{array.shape[1]}x{array.shape[0]}"


def read_picture(path, mode):
    """Return the pixels as they are stored."""
    with open(path, "rb") as file:
        data = numpy.frombuffer(file.read(), numpy.uint8)
    pixels = data.size and cv2.imdecode(
        data, mode | cv2.IMREAD_IGNORE_ORIENTATION)
    if not isinstance(pixels, numpy.ndarray):
        raise SetError(f"{path}: not a picture that OpenCV can read")
    return pixels


# ---------------------------------------------------------------- folders


def pictures(folder):
    """Return {path within folder, without extension: path}."""
    found = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, extension = os.path.splitext(name)
            if extension.lower() in EXTENSIONS:
                path = os.path.join(place, name)
                key = os.path.relpath(os.path.join(place, stem), folder)
                found.setdefault(key, path)
    return found


def subfolder(folder, names):
    """Return the first subfolder that has one of the names, or None."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        if name.lower() in names and os.path.isdir(path):
            return path
    return None


def pairs(folder):
    """Return [(name, path of the image, path of the mask)]."""
    images, _, masks = folder.partition(":")
    if not masks:
        if not os.path.isdir(folder):
            raise SetError(f"{folder}: no such folder")
        beside = pictures(folder)
        images = {name[:-len(IMAGE)]: path for name, path in beside.items()
                  if name.endswith(IMAGE)}
        if images:
            return matched(images, {
                name[:-len(TRUTH)]: path for name, path in beside.items()
                if name.endswith(TRUTH)}, folder)
        images, masks = (subfolder(folder, names) for names in FOLDERS)
        if not images or not masks:
            raise SetError(
                f"{folder}: neither NAME{IMAGE}.jpg with NAME{TRUTH}.png nor "
                "a folder 'images' beside a folder 'masks'")
    for place in (images, masks):
        if not os.path.isdir(place):
            raise SetError(f"{place}: no such folder")
    return matched(pictures(images), pictures(masks), masks)


def matched(images, masks, where):
    """Return `pairs` of two dicts of `pictures`."""
    if not images:
        raise SetError(f"{where}: no pictures")
    for name, path in images.items():
        if name not in masks:
            raise SetError(f"{path}: its mask is missing in {where}")
    return [(name, path, masks[name]) for name, path in sorted(
        images.items())]


def is_video(names):
    """Whether these are names of frames: consecutive numbers."""
    names = [os.path.basename(name) for name in names]
    if len(names) <= LATE_FRAMES or not all(map(str.isdecimal, names)):
        return False
    numbers = sorted(map(int, names))
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def items(folder, every=1):
    """Return the items of a set.

    One of `every` pictures. Of a video two neighbouring frames of every
    2 * `every`, for what is measured between them; and never the first
    LATE_FRAMES, which have no mask to be late.
    """
    groups = {}
    for pair in pairs(folder):
        groups.setdefault(os.path.dirname(pair[0]), []).append(pair)
    stills, frames = [], []
    for group in groups.values():
        if not is_video([name for name, _, _ in group]):
            stills += [Item(*pair) for pair in group]
            continue
        group.sort(key=lambda pair: int(os.path.basename(pair[0])))
        for i, pair in enumerate(group[LATE_FRAMES:]):
            if i // 2 % every == 0:
                follows = i > 0 and (every == 1 or i % 2 == 1)
                frames.append(Item(*pair, group[i][2], follows))
    return stills[::every] + frames


# ----------------------------------------------------------- coarse masks


def seeded(name, kind):
    """Return a random generator for one coarse mask of one picture."""
    digest = hashlib.sha256(f"{name}\n{kind}".encode()).digest()
    return numpy.random.default_rng(int.from_bytes(digest[:8], "little"))


def late(item, truth, random):
    """A mask that comes late.

    In a video it is the mask of LATE_FRAMES before; in a still picture its
    own mask is moved in a random direction.
    """
    if item.earlier:
        return coarse.binary(read_picture(item.earlier, cv2.IMREAD_GRAYSCALE))
    angle = random.uniform(0, 2 * math.pi)
    distance = max(1, LATE_SHIFT * max(truth.shape))
    return coarse.late(truth, (round(distance * math.cos(angle)),
                               round(distance * math.sin(angle))))


def speckle(_, truth, random):
    """As background subtraction makes it.

    Its edges are not the object's to the pixel, because of compression,
    shadows and blur: it sees the truth softened.
    """
    soft = cv2.GaussianBlur(truth, (0, 0), coarse.unit(truth))
    return coarse.speckle(soft, random)


LOW_RESOLUTION = {str(side): side for side in (48, 64, 96)}
KINDS = {
    "paper": lambda _, truth, random: coarse.paper(truth, TARGET_IOU, random),
    **{kind: lambda _, truth, __, side=side: coarse.low_resolution(truth, side)
       for kind, side in LOW_RESOLUTION.items()},
    "late": late,
    "speckle": speckle,
}


def coarse_mask(item, truth, kind):
    """Return a coarse mask, always the same for an item's name and a kind."""
    return KINDS[kind](item, truth, seeded(item.name, kind))
