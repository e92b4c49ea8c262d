# SPDX-License-Identifier: LGPL-2.1-or-later
"""The pictures that training composites are made of.

A tab-separated table lists them, one file a line, with a header line and
`#` for comments. Its columns:

    package      Debian package that installs the file, or `trellis`
    path         as installed; for `trellis`, relative to a folder given
    roles        comma-separated, see ROLES
    licence, attribution
    sha256       first 16 hexadecimal digits

Only listed files are read, and none that differs from its digest. No file
below a folder named `validate` is ever read: what a model is measured on
must not train it.

Colours are BGR, as OpenCV has them.
"""

import csv
import dataclasses
import functools
import hashlib
import os
import pathlib

import cv2
import numpy
from PIL import Image, ImageFont

from chance import pick, pick_weighted

ROLES = {
    "photo": "an opaque photograph: background, or texture of a shape",
    "drawing": "opaque, not a photograph",
    "texture": "an opaque surface",
    "cutout": "RGBA with believable colours: an object",
    "shape": "only the outline of its alpha is used",
    "font": "an outline font",
}
COLUMNS = ("package", "path", "roles", "licence", "sha256", "attribution")
FORBIDDEN = "validate"
RELATIVE = "trellis"  # package whose paths are relative
DIGITS = 16  # of a digest

OPAQUE = 1600  # pixels of the long side, at most, in memory
CUTOUT = 1100
SMALLEST = 160  # side of an opaque picture that is of use
SMALLEST_CUTOUT = 40
FULLEST = 0.97  # share of a cutout's box that it may fill
SOFTEST = 0.35  # share of an outline that may be translucent


class SourceError(ValueError):
    """What is wrong with the table or with a file, in one sentence."""


@dataclasses.dataclass(frozen=True)
class Source:
    """A line of the table, with the path to read."""

    package: str
    path: str
    roles: tuple
    sha256: str


def check_path(path):
    """Refuse what must not be trained on, by any name it goes by."""
    for name in (path, os.path.realpath(path)):
        parts = pathlib.PurePath(name).parts
        if any(part.lower() == FORBIDDEN for part in parts):
            raise SourceError(f"{path}: a picture to measure with must not "
                              "be trained on")


def read_table(table, cutouts=None):
    """Return the table's sources; `cutouts` is where relative paths start."""
    with open(table, encoding="utf-8", newline="") as file:
        lines = [line for line in file
                 if line.strip() and not line.startswith("#")]
    rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    if tuple(rows.fieldnames or ()) != COLUMNS:
        raise SourceError(f"{table}: expected the columns "
                          f"{', '.join(COLUMNS)}")
    sources = []
    for row in rows:
        path = row["path"]
        if None in row or None in row.values():
            raise SourceError(f"{table}: {path}: wrong number of columns")
        roles = tuple(row["roles"].split(","))
        unknown = set(roles) - set(ROLES)
        if unknown:
            raise SourceError(f"{table}: {path}: unknown role "
                              f"{unknown.pop()!r}")
        digest = row["sha256"].lower()
        if len(digest) < DIGITS:
            raise SourceError(f"{table}: {path}: the digest is too short")
        if row["package"] == RELATIVE:
            check_path(path)
            path = os.path.join(cutouts, path) if cutouts else ""
        elif not os.path.isabs(path):
            raise SourceError(f"{table}: {path}: not an absolute path")
        check_path(path)
        sources.append(Source(row["package"], path, roles, digest))
    return sources


def check_digest(source):
    """Refuse a file that is not the one that the table means."""
    with open(source.path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    if not digest.startswith(source.sha256):
        raise SourceError(f"{source.path}: its SHA-256 is not the one that "
                          "the table gives")


def pyramid(picture, smallest):
    """Halve a picture while both its sides stay above `smallest`."""
    levels = [picture]
    while min(levels[-1].shape[:2]) >= 2 * smallest:
        levels.append(cv2.resize(levels[-1], None, fx=0.5, fy=0.5,
                                 interpolation=cv2.INTER_AREA))
    return levels


def shrink(picture, longest):
    """Resize a picture so that its long side is no longer than that."""
    scale = longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    return cv2.resize(picture, None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_AREA)


def read_opaque(path):
    """A pyramid of a picture without alpha, or None if it is of no use."""
    with Image.open(path) as image:
        image.draft("RGB", (OPAQUE, OPAQUE))
        picture = numpy.asarray(image.convert("RGB"))[..., ::-1]
    if min(picture.shape[:2]) < SMALLEST:
        return None
    return pyramid(shrink(numpy.ascontiguousarray(picture), OPAQUE), SMALLEST)


def read_cutout(path):
    """A pyramid of BGRA pictures, colours multiplied by alpha, or None."""
    with Image.open(path) as image:
        rgba = numpy.asarray(image.convert("RGBA"))
    alpha = rgba[..., 3]
    columns = numpy.flatnonzero((alpha > 20).any(0))
    rows = numpy.flatnonzero((alpha > 20).any(1))
    if not len(rows):
        return None
    rgba = rgba[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    alpha = rgba[..., 3]
    if min(alpha.shape) < SMALLEST_CUTOUT or (alpha > 128).mean() > FULLEST:
        return None
    picture = rgba[..., [2, 1, 0, 3]].astype(numpy.float32)
    picture[..., :3] *= picture[..., 3:] / 255
    picture = shrink(numpy.rint(picture).astype(numpy.uint8), CUTOUT)
    return pyramid(picture, SMALLEST_CUTOUT)


def read_shape(path):
    """A pyramid of a cutout's alpha, or None where it is too translucent."""
    levels = read_cutout(path)
    if levels is None:
        return None
    alpha = levels[-1][..., 3]
    soft = cv2.inRange(alpha, 26, 214)
    if cv2.countNonZero(soft) > SOFTEST * (alpha > 25).sum():
        return None
    return [numpy.ascontiguousarray(level[..., 3]) for level in levels]


READERS = {"photo": read_opaque, "drawing": read_opaque,
           "texture": read_opaque, "cutout": read_cutout,
           "shape": read_shape}


class Library:
    """Pictures by role, each read when it is first drawn.

    Thus a draw depends on the generator and the files, not on what was
    drawn before. A package is drawn as often as the square root of its
    number of files says: neither should thousands of clip arts drown the
    rest, nor a few files be seen all the time.
    """

    def __init__(self, sources):
        """Check all digests; leave out packages that are not installed."""
        self.missing = {}  # files by package
        self.roles = {role: {} for role in ROLES}  # sources by package
        for source in sources:
            if not os.path.isfile(source.path):
                count = self.missing.get(source.package, 0)
                self.missing[source.package] = count + 1
                continue
            check_digest(source)
            for role in source.roles:
                packages = self.roles[role]
                packages.setdefault(source.package, []).append(source)
        for role, what in ROLES.items():
            if not self.roles[role]:
                raise SourceError(f"no file has the role {role} ({what})")
        self.read = functools.lru_cache(maxsize=None)(self._read)

    @staticmethod
    def _read(role, path):
        try:
            return READERS[role](path)
        except OSError as error:
            raise SourceError(f"{path}: {error}") from error

    def source(self, random, role):
        """One of the sources of a role."""
        packages = self.roles[role]
        package = pick_weighted(random, {
            name: len(files) ** 0.5 for name, files in packages.items()})
        return pick(random, packages[package])

    def draw(self, random, role):
        """A pyramid of pictures of that role, the largest first."""
        for _ in range(100):
            source = self.source(random, role)
            levels = self.read(role, source.path)
            if levels is not None:
                return levels
        raise SourceError(f"the files of the role {role} are of no use")

    def font(self, random, size):
        """A font of that size in pixels."""
        return ImageFont.truetype(self.source(random, "font").path, size)
