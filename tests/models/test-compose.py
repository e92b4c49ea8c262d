#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/compose.py and what it draws from, in TAP.

The sources are made here, of small size; only the font is the system's.
"""

import contextlib
import hashlib
import io
import os
import sys
import tempfile

FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"
if not os.path.exists(FONT):
    print(f"1..0 # SKIP {FONT} is missing (fonts-dejavu-core)")
    sys.exit(0)

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "models"))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.dont_write_bytecode = True

import tap  # noqa: E402

tap.need("PIL", "cv2", "numpy")

import cv2  # noqa: E402
import numpy  # noqa: E402
from PIL import Image  # noqa: E402

import coarse  # noqa: E402
import compose  # noqa: E402
import pictures  # noqa: E402
import shapes  # noqa: E402

SIDE = compose.SIDE
TABLE = "sources.tsv"


def generator(seed=0):
    return numpy.random.default_rng(seed)


# ---------------------------------------------------------------- sources


def surface(random, height, width):
    """Smooth colours with some grain, uint8 RGB."""
    knots = random.uniform(0, 255, (5, 5, 3)).astype(numpy.float32)
    picture = cv2.resize(knots, (width, height),
                         interpolation=cv2.INTER_LINEAR)
    picture += random.normal(0, 8, picture.shape)
    return numpy.clip(picture, 0, 255).astype(numpy.uint8)


def line(path, roles, package="made", digest=None):
    """A line of the table for a file."""
    if digest is None:
        with open(path, "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()[:16]
    return "\t".join((package, path, roles, "CC0-1.0", digest, "nobody"))


def make_sources():
    """Write pictures below the current folder; return the table's lines."""
    random = generator(7)
    lines = []
    for name, roles in (("a.png", "photo"), ("b.jpg", "photo,texture"),
                        ("c.png", "drawing")):
        path = os.path.abspath(name)
        Image.fromarray(surface(random, 300, 420)).save(path)
        lines.append(line(path, roles))
    for index, axes in enumerate(((130, 60), (70, 110))):
        alpha = numpy.zeros((260, 300), numpy.uint8)
        cv2.ellipse(alpha, (150, 130), axes, 20, 0, 360, 255, -1,
                    cv2.LINE_AA)
        cv2.circle(alpha, (150, 120), 15, 0, -1, cv2.LINE_AA)
        path = os.path.abspath(f"object{index}.png")
        Image.fromarray(numpy.dstack([surface(random, 260, 300), alpha])
                        ).save(path)
        lines.append(line(path, "cutout,shape"))
    lines.append(line(FONT, "font", "fonts-dejavu-core"))
    return lines


def without(lines, role):
    """The lines, none of which has that role."""
    rest = []
    for row in lines:
        columns = row.split("\t")
        roles = [name for name in columns[2].split(",") if name != role]
        if roles:
            columns[2] = ",".join(roles)
            rest.append("\t".join(columns))
    return rest


def write_table(lines, header="\t".join(pictures.COLUMNS)):
    with open(TABLE, "w", encoding="utf-8") as file:
        file.write("\n".join(["# a comment", header, *lines, ""]))


def library(lines):
    write_table(lines)
    return pictures.Library(pictures.read_table(TABLE))


def refused(lines, words, **table):
    """Whether these lines are refused with a sentence that has the words."""
    write_table(lines, **table)
    try:
        pictures.Library(pictures.read_table(TABLE, cutouts="."))
    except pictures.SourceError as error:
        if words in str(error):
            return True
        print(f"# {error}")
    return False


def test_validate(lines):
    """No picture that a model is measured on can train it."""
    os.makedirs("data/validate/horse")
    Image.fromarray(surface(generator(), 200, 200)).save(
        "data/validate/horse/1.png")
    hidden = os.path.abspath("data/validate/horse/1.png")
    words = "must not be trained on"
    yield "an absolute path", refused([*lines, line(hidden, "photo")], words)
    yield ("a relative path",
           refused([*lines, line("data/validate/horse/1.png", "photo",
                                 "trellis")], words))
    yield ("a missing file", refused(
        [*lines, line("/none/validate/2.png", "photo", digest=16 * "0")],
        words))
    yield ("other letters", refused(
        [*lines, line("/none/Validate/2.png", "photo", digest=16 * "0")],
        words))
    yield ("a way around", refused(
        [*lines, line(os.path.abspath("data/../data/validate/horse/1.png"),
                      "photo")], words))
    os.symlink(hidden, "innocent.png")
    yield ("a link to a picture", refused(
        [*lines, line(os.path.abspath("innocent.png"), "photo")], words))
    os.symlink("data/validate", "harmless")
    yield ("a link to the folder", refused(
        [*lines, line(os.path.abspath("harmless/horse/1.png"), "photo")],
        words))
    write_table([*lines, line("innocent.png", "photo", "trellis")])
    try:
        pictures.read_table(TABLE, cutouts="data/validate/horse")
        passed = False
    except pictures.SourceError as error:
        passed = words in str(error)
    yield "as the folder of the cut-outs", passed
    # a component, not any name with the word in it
    os.rename("data/validate", "data/validated")
    yield ("a similar name", library(
        [*lines, line(os.path.abspath("data/validated/horse/1.png"),
                      "photo")]))


def test_table(lines):
    """What is wrong with a table is said."""
    yield "a good table", library(lines)
    yield ("other columns", refused(
        lines, "expected the columns", header="package\tpath"))
    yield "a column too few", refused([lines[0].rpartition("\t")[0]],
                                      "wrong number of columns")
    yield "a column too many", refused([lines[0] + "\tx"],
                                       "wrong number of columns")
    yield "an unknown role", refused(
        [lines[0].replace("photo", "foto")], "unknown role 'foto'")
    yield "no digest", refused([line("/a", "photo", digest="")],
                               "digest is too short")
    yield "a relative path", refused([line("a.png", "photo")],
                                     "not an absolute path")
    yield "another digest", refused(
        [*lines[1:], line(os.path.abspath("a.png"), "photo",
                          digest=16 * "0")], "SHA-256")
    for role in pictures.ROLES:
        yield f"no {role}", refused(without(lines, role),
                                    f"no file has the role {role}")
    absent = [line(f"/none/{name}", "photo", "absent", 16 * "0")
              for name in "ab"]
    yield ("a package that is not installed",
           library([*lines, *absent]).missing == {"absent": 2})

    with open("broken.png", "wb") as file:
        file.write(b"no picture")
    broken = line(os.path.abspath("broken.png"), "photo")
    try:
        library([*without(lines, "photo"), broken]).draw(generator(), "photo")
        passed = False
    except pictures.SourceError as error:
        passed = "broken.png" in str(error)
    yield "a file that is no picture", passed


def test_reading(lines):
    """Pyramids of pictures, as they are kept in memory."""
    levels = pictures.read_opaque("a.png")
    with Image.open("a.png") as image:
        rgb = numpy.asarray(image)
    yield "an opaque picture is BGR", numpy.array_equal(
        levels[0][..., ::-1], rgb)
    Image.fromarray(surface(generator(), 900, 1900)).save("large.png")
    shapes_found = [level.shape for level in pictures.read_opaque("large.png")]
    yield ("a large one is made smaller, then halved",
           shapes_found == [(758, 1600, 3), (379, 800, 3), (190, 400, 3)])

    rgba = numpy.zeros((100, 120, 4), numpy.uint8)
    rgba[20:80, 30:110] = (200, 100, 50, 255)
    rgba[20:50, 30:70, 3] = 128
    rgba[60:80, 90:110, 3] = 0
    Image.fromarray(rgba).save("cut.png")
    picture = pictures.read_cutout("cut.png")[0]
    yield "a cut-out is cut to its box", picture.shape == (60, 80, 4)
    yield ("and its colours multiplied by alpha", (
        picture[50, 10].tolist() == [50, 100, 200, 255]
        and picture[10, 10].tolist() == [25, 50, 100, 128]
        and picture[50, 70].tolist() == [0, 0, 0, 0]))
    rgba[20:80, 30:110, 3] = 255
    Image.fromarray(rgba).save("full.png")
    yield "what fills its box is no outline", not pictures.read_cutout(
        "full.png")
    rgba[20:80, 30:80, 3] = 100
    Image.fromarray(rgba).save("glass.png")
    yield "a translucent thing is no outline", (
        pictures.read_cutout("glass.png") and not pictures.read_shape(
            "glass.png"))
    Image.fromarray(rgba * 0).save("empty.png")
    yield "an empty picture", not pictures.read_cutout("empty.png")
    useless = line(os.path.abspath("full.png"), "cutout")
    try:
        stock = library([*without(lines, "cutout"), useless])
        stock.draw(generator(), "cutout")
        passed = False
    except pictures.SourceError as error:
        passed = "role cutout are of no use" in str(error)
    yield "only useless pictures", passed


# ----------------------------------------------------------------- shapes


def test_shapes(lines):
    """Every drawing, and every change to one."""
    stock = library(lines)
    for kind in shapes.KINDS:
        drawn = [shapes.drawing(generator(seed), stock, kind)
                 for seed in range(12)]
        share = [(alpha > 127).mean() for alpha in drawn]
        yield f"{kind}: alphas", all(
            alpha.shape == (SIDE, SIDE) and alpha.dtype == numpy.uint8
            for alpha in drawn)
        yield (f"{kind}: something, not all",
               sum(0.005 < part < 0.995 for part in share) >= 10)
        yield f"{kind}: soft edges", all(
            ((alpha > 20) & (alpha < 235)).any() for alpha, part in zip(
                drawn, share) if 0.005 < part < 0.995)

    ramp = numpy.arange(SIDE, dtype=numpy.float32) - 99.75
    alpha = shapes.level_set(numpy.tile(2 * ramp, (SIDE, 1)))
    # a pixel's share above the level: 0.25 of pixel 99, 0.75 of pixel 100...
    yield ("a level set covers pixels in part",
           (alpha[:, 98:102] == [0, 0, 191, 255]).all())

    disc = cv2.circle(numpy.zeros((SIDE, SIDE), numpy.uint8), (112, 112),
                      60, 255, -1, cv2.LINE_AA)
    for change, grows in ((shapes.fur, True), (shapes.thin_parts, True),
                          (shapes.holes, False)):
        changed = [change(generator(seed), disc) for seed in range(8)]
        yield f"{change.__name__}: {'adds' if grows else 'takes'} only", all(
            (alpha >= disc if grows else alpha <= disc).all()
            and alpha.dtype == numpy.uint8 for alpha in changed)
        yield f"{change.__name__}: in every case", not any(
            numpy.array_equal(alpha, disc) for alpha in changed)
        yield f"{change.__name__}: of nothing", change(
            generator(), disc & 0).shape == disc.shape


# ------------------------------------------------------------- composites


@contextlib.contextmanager
def replaced(**functions):
    """Put other functions in the place of compose's."""
    kept = {name: getattr(compose, name) for name in functions}
    for name, function in functions.items():
        setattr(compose, name, function)
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(compose, name, function)


def test_exact(lines):
    """The alpha is the target's share of each pixel."""
    random = generator(5)
    below = random.random((SIDE, SIDE, 3)).astype(numpy.float32) * 255
    colour = random.random((SIDE, SIDE, 3)).astype(numpy.float32) * 255
    alpha = random.random((SIDE, SIDE)).astype(numpy.float32)
    expected = (alpha.astype(float)[..., None] * colour
                + (1 - alpha.astype(float)[..., None]) * below)
    yield "the compositing equation", numpy.abs(
        compose.over(below, colour, alpha) - expected).max() < 1e-3

    stock = library(lines)
    levels = stock.draw(generator(), "cutout")
    drawn = compose.placed(generator(1), levels, 150)
    colour = compose.spread(drawn)
    alpha = drawn[..., 3] / 255
    error = numpy.abs(compose.over(below, colour, alpha)
                      - (drawn[..., :3] + (1 - alpha[..., None]) * below))
    yield "a cut-out keeps its own colours", error[
        (alpha > 0.4) | (alpha == 0)].max() < 1.5

    # where the target alone is white, the picture is its alpha
    make_layer = compose.make_layer
    black = [numpy.zeros((300, 300, 3), numpy.uint8)]

    def black_or_white(random, library, below, levels, kinds=None,
                       like=None):
        layer = make_layer(random, library, below, levels, kinds, like)
        return layer._replace(colour=numpy.full_like(
            layer.colour, 255 if like is None else 0))

    worst, occluded, soft = 0, 0, 0
    with replaced(make_layer=black_or_white,
                  background_levels=lambda *_: black,
                  photographed=lambda _, image: image,
                  wrapped=lambda _, __, layer: layer,
                  patched=lambda _, __, colour: colour):
        for seed in range(40):
            scene = compose.attempt(generator(seed), stock)
            if scene is None:
                continue
            image, alpha, distractor, _ = scene
            worst = max(worst, numpy.abs(image - alpha[..., None]).max())
            occluded += distractor is not None
            soft += ((alpha > 60) & (alpha < 190)).mean() > 0.02
    print(f"# off by {worst:.2f} levels at most")
    yield "white targets on black equal their alpha", worst < 1.5
    yield ("with occluders, with blur", occluded > 3 and soft > 0)


def test_samples(lines):
    """What each sample is, and what it depends on."""
    def make(part, seed=1, count=3, stock=None):
        return compose.make_part(stock or library(lines), seed, part, count)

    def equal(one, other):
        return all(numpy.array_equal(one[name], other[name]) for name in one)

    stock = library(lines)
    first = make(3, stock=stock)
    other = make(4, stock=stock)
    yield "the same again", equal(first, make(3, stock=stock))
    yield "in another order", equal(first, make(3))
    yield "one by one", equal(
        {name: array[:1] for name, array in other.items()},
        make(4, count=1))
    yield "another part differs", not equal(first, other)
    yield "another seed differs", not equal(first, make(3, seed=2))
    state = numpy.random.get_state()[1].copy()
    make(5, count=1)
    yield "no other source of chance", numpy.array_equal(
        state, numpy.random.get_state()[1])

    many = make(6, count=24, stock=stock)
    layout = {name: (array.dtype.name, array.shape)
              for name, array in many.items()}
    yield "the arrays", layout == {
        "image": ("uint8", (24, SIDE, SIDE, 3)),
        "alpha": ("uint8", (24, SIDE, SIDE)),
        "coarse": ("uint8", (24, 3, SIDE, SIDE // 8)),
        "iou": ("float32", (24, 3)), "kind": ("uint8", (24,))}
    masks = numpy.unpackbits(many["coarse"], axis=-1) * 255
    yield "the masks' IoU", all(
        many["iou"][index].tolist() == [
            numpy.float32(coarse.iou(mask, alpha)) for mask in masks[index]]
        for index, alpha in enumerate(many["alpha"]))
    area = (many["alpha"] > 127).mean((1, 2))
    yield "targets neither tiny nor all", (
        (area > 0.03) & (area < 0.93)).all()
    yield "no empty picture", (many["image"].std((1, 2, 3)) > 1).all()
    yield "kinds", len(set(many["kind"])) > 2 and (
        many["kind"] < len(compose.KINDS)).all()

    for share, wanted in ((0.5, False), (0.7, True)):
        with replaced(visible=lambda *_, share=share: share):
            yield (f"a target of which {share} can be seen: {wanted}",
                   wanted == any(compose.attempt(generator(seed), stock)
                                 for seed in range(5)))
    colours = numpy.zeros((SIDE, SIDE, 3), numpy.uint8) + numpy.uint8(
        [10, 20, 30])
    scene = colours, many["alpha"][0], None, 0
    with replaced(attempt=lambda *_: scene):
        sample = compose.make_sample(generator(), stock)
    yield "BGR becomes RGB", (sample["image"] == [30, 20, 10]).all()

    below = numpy.full((SIDE, SIDE, 3), 100, numpy.float32)
    alpha = numpy.zeros((SIDE, SIDE), numpy.float32)
    alpha[50:150, 50:150] = 1
    for level, share in ((104, 0), (130, 1)):
        layer = compose.Layer(below * 0 + level, alpha, 0, None)
        yield (f"a target of {level} on 100 can be seen: {share}",
               compose.visible(layer, below) == share)


def run(*arguments):
    """Run the program; return its status, output and complaint."""
    with contextlib.redirect_stdout(io.StringIO()) as output, \
            contextlib.redirect_stderr(io.StringIO()) as complaint:
        status = compose.main(["--sources", TABLE, *arguments])
    return status, output.getvalue(), complaint.getvalue()


def test_program(lines):
    """The command, its files and its refusals."""
    absent = line("x.png", "photo", "trellis", 16 * "0")
    write_table([*lines, absent])
    status, output, complaint = run("--part", "8", "--part", "2", "--samples",
                                    "2", "--preview", "sheet.png", "pool")
    yield "it succeeds", status == 0 and output.count("mean IoU") == 2
    yield "it says what is not there", complaint.count("\n") == 1 and (
        "package trellis" in complaint)
    yield "nothing but parts", sorted(os.listdir("pool")) == [
        "part-0002.npz", "part-0008.npz"]
    with numpy.load("pool/part-0002.npz") as part:
        made = compose.make_part(library(lines), 0, 2, 2)
        yield "the part that was asked for", all(
            numpy.array_equal(part[name], made[name]) for name in made)
    sheet = cv2.imread("sheet.png")
    yield "a preview", sheet.shape == (10 * SIDE, 18 * SIDE, 3)
    with numpy.load("pool/part-0002.npz") as part:
        yield "of the last part", numpy.array_equal(
            sheet[:SIDE, :SIDE, ::-1], part["image"][0])

    write_table(lines[1:-1])
    status, _, complaint = run("--part", "1", "pool")
    yield "one clear sentence", status == 1 and (
        complaint.startswith("compose: no file has the role font")
        and complaint.count("\n") == 1)
    write_table(lines)
    with open("file", "w", encoding="utf-8"):
        pass
    status, _, complaint = run("--part", "1", "--samples", "1", "file")
    yield "no folder to write to", status == 1 and "file" in complaint

    def fail(file, **_):
        file.write(b"some of it")
        raise OSError("disk full")

    kept = numpy.savez
    numpy.savez = fail
    try:
        status, _, complaint = run("--part", "9", "--samples", "1", "pool")
    finally:
        numpy.savez = kept
    yield "nothing half-written", status == 1 and (
        "disk full" in complaint and len(os.listdir("pool")) == 2)


def main():
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lines = make_sources()
        status = tap.report(tap.checks_of((
            test_validate, test_table, test_reading, test_shapes, test_exact,
            test_samples, test_program), lines))
        os.chdir("/")
    return status


if __name__ == "__main__":
    sys.exit(main())
