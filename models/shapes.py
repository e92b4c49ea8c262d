# SPDX-License-Identifier: LGPL-2.1-or-later
"""Outlines drawn from chance: alphas of SIDE x SIDE pixels, uint8.

They are drawn at twice the size, with anti-aliasing, and averaged. Lengths
are in pixels of the result, positions too; x goes right, y down.
"""

import math

import cv2
import numpy
from PIL import Image, ImageDraw

from chance import chance, log_uniform

SIDE = 224  # of a composite
SCALE = 2  # canvas pixels per pixel
BITS = 4  # fractional bits of OpenCV's coordinates


def canvas():
    """An empty picture to draw on."""
    return numpy.zeros((SIDE * SCALE, SIDE * SCALE), numpy.uint8)


def finish(drawn):
    """Average a canvas down to an alpha."""
    return cv2.resize(drawn, (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def fixed(points):
    """Points in pixels as OpenCV's fixed-point canvas coordinates."""
    return numpy.rint(numpy.asarray(points) * (SCALE << BITS)).astype(
        numpy.int32)


def polygon(drawn, points, value=255):
    """Fill a polygon of points (x, y)."""
    cv2.fillPoly(drawn, [fixed(points)], value, cv2.LINE_AA, BITS)


def lines(drawn, paths, width, value=255):
    """Stroke paths, an array [paths, points, 2]; `width` is in pixels."""
    cv2.polylines(drawn, list(fixed(paths)), False, value,
                  max(1, round(width * SCALE)), cv2.LINE_AA, BITS)


def ellipse(drawn, centre, axes, angle, value=255, width=None):
    """Fill an ellipse, or stroke it where a width is given."""
    thickness = -1 if width is None else max(1, round(width * SCALE))
    cv2.ellipse(drawn, tuple(int(v) for v in fixed(centre)),
                tuple(int(v) for v in fixed(axes)), angle, 0, 360, value,
                thickness, cv2.LINE_AA, BITS)


def somewhere(random, low=0.2, high=0.8):
    """A point, in shares of the side."""
    return random.uniform(low, high, 2) * SIDE


def boundary_point(random, drawn):
    """A point on the boundary of what is drawn, or anywhere, in pixels."""
    edge = cv2.morphologyEx(drawn, cv2.MORPH_GRADIENT,
                            numpy.ones((3, 3), numpy.uint8))
    found = numpy.flatnonzero(edge > 127)
    if not len(found):
        return somewhere(random, 0.1, 0.9)
    y, x = divmod(int(found[random.integers(len(found))]), drawn.shape[1])
    return numpy.array([x, y]) / SCALE


def fractal(random, roughness, largest):
    """Noise of several octaves, float32 SIDE x SIDE.

    `largest` is the number of knots a side of the coarsest octave, and
    `roughness` the amplitude of each octave relative to the one before.
    """
    total = numpy.zeros((SIDE, SIDE), numpy.float32)
    amplitude, cells = 1.0, largest
    while cells <= SIDE // 2 and amplitude > 0.02:
        knots = random.standard_normal((cells + 1, cells + 1),
                                       dtype=numpy.float32)
        total += amplitude * cv2.resize(knots, (SIDE, SIDE),
                                        interpolation=cv2.INTER_CUBIC)
        amplitude *= roughness
        cells *= 2
    return total


def level_set(values, softness=1.0):
    """The alpha of where values are positive, about `softness` px soft."""
    slope = cv2.magnitude(cv2.Sobel(values, cv2.CV_32F, 1, 0, scale=1 / 8),
                          cv2.Sobel(values, cv2.CV_32F, 0, 1, scale=1 / 8))
    typical = cv2.blur(slope, (9, 9)) + 1e-6
    alpha = values / (typical * softness) + 0.5
    return (numpy.clip(alpha, 0, 1) * 255 + 0.5).astype(numpy.uint8)


# -------------------------------------------------------------- one drawing


def radial(random, drawn, reach=None):
    """A star-shaped blob, round, wavy, spiky or toothed."""
    count = 180
    angle = numpy.arange(count) / count * 2 * math.pi
    reach = reach or log_uniform(random, 0.12, 0.65) * SIDE
    radius = numpy.ones(count)
    spiky = chance(random, 0.3)
    for order in range(1, 14 if spiky else 7):
        amplitude = random.uniform(0, 0.5) / order ** (0.6 if spiky else 1.2)
        radius += amplitude * numpy.cos(
            order * angle + random.uniform(0, 2 * math.pi))
    radius = numpy.maximum(radius, 0.15) * reach
    if chance(random, 0.2):
        teeth = numpy.arange(count) % random.integers(2, 8) == 0
        radius *= 1 - random.uniform(0.1, 0.5) * teeth
    outline = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)
                           * random.uniform(0.4, 1)], 1)
    turn = random.uniform(0, math.pi)
    outline = outline @ numpy.array([[math.cos(turn), -math.sin(turn)],
                                     [math.sin(turn), math.cos(turn)]])
    place = somewhere(random)
    if reach > 0.4 * SIDE:  # too large to be seen whole: show an edge
        place = place - outline[random.integers(count)]
    polygon(drawn, outline + place)


def walk(random, start, heading, steps, stride, bend):
    """A meandering path of points from `start`, [steps + 1, 2]."""
    turns = bend + random.normal(0, 0.25, steps)
    turns += (random.random(steps) < 0.06) * random.uniform(-1, 1, steps)
    heading = heading + numpy.cumsum(turns)
    moves = stride * numpy.stack([numpy.cos(heading), numpy.sin(heading)], 1)
    return numpy.concatenate([[start], start + numpy.cumsum(moves, 0)])


def limbs(random, drawn):
    """Some long parts that start on what is drawn and taper off."""
    for _ in range(random.integers(1, 7)):
        steps = int(random.integers(4, 26))
        path = walk(random, boundary_point(random, drawn),
                    random.uniform(0, 2 * math.pi), steps,
                    random.uniform(4, 14), random.uniform(-0.25, 0.25))
        width = log_uniform(random, 1.2, 0.07 * SIDE)
        shrinking = random.uniform(0.88, 1.01)
        for start, end in zip(path[:-1], path[1:]):
            lines(drawn, [[start, end]], width)
            width = max(1, width * shrinking)


def whiskers(random, drawn):
    """A few long, thin, hardly bent strokes from one place."""
    for _ in range(random.integers(1, 4)):
        root = boundary_point(random, drawn)
        count = int(random.integers(2, 9))
        heading = (random.uniform(0, 2 * math.pi)
                   + random.normal(0, 0.4, (count, 1)))
        bend = random.normal(0, 0.15, (count, 1))
        length = log_uniform(random, 15, 90) * random.uniform(
            0.5, 1, (count, 1))
        along = numpy.linspace(0, 1, 6)
        direction = heading + bend * along * 3
        paths = numpy.stack([numpy.cos(direction), numpy.sin(direction)], 2)
        paths *= (length * along)[..., None]
        starts = root + random.normal(0, 5, (count, 1, 2))
        lines(drawn, starts + paths, random.uniform(0.6, 2))


def branches(random, drawn):
    """A twig that forks, with or without leaves."""
    leafy = chance(random, 0.4)
    size = log_uniform(random, 4, 16)
    tips = [(boundary_point(random, drawn), random.uniform(0, 2 * math.pi),
             log_uniform(random, 2, 14), 0)]
    strokes = 0
    while tips and strokes < 40:
        start, heading, width, depth = tips.pop(0)
        steps = int(random.integers(3, 9))
        path = walk(random, start, heading, steps, random.uniform(5, 11), 0)
        lines(drawn, [path], width)
        strokes += 1
        if leafy and width < 5:
            for place in path[1:]:
                ellipse(drawn, place + random.normal(0, size / 2, 2),
                        (size, size * random.uniform(0.25, 0.6)),
                        random.uniform(0, 180))
        if depth < 4:
            for _ in range(random.integers(1, 4)):
                at = path[random.integers(1, steps + 1)]
                tips.append((at, heading + random.normal(0, 0.7),
                             max(1, width * random.uniform(0.45, 0.8)),
                             depth + 1))


def wheel(random, drawn):
    """A rim with spokes, seen at an angle."""
    centre = somewhere(random, 0.25, 0.75)
    radius = random.uniform(0.12, 0.55) * SIDE
    axes = numpy.array([radius, radius * random.uniform(0.4, 1)])
    turn = random.uniform(-30, 30)
    ellipse(drawn, centre, axes, turn, width=log_uniform(random, 1.5, 18))
    spokes = int(random.integers(4, 20))
    angle = random.uniform(0, 2 * math.pi) + numpy.arange(
        spokes) * 2 * math.pi / spokes
    if chance(random, 0.4):
        angle = angle + random.normal(0, 0.2, spokes)
    rim = numpy.stack([axes[0] * numpy.cos(angle),
                       axes[1] * numpy.sin(angle)], 1)
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    rim = centre + rim @ numpy.array([[cosine, sine], [-sine, cosine]])
    lines(drawn, numpy.stack([rim, numpy.broadcast_to(centre, rim.shape)], 1),
          random.uniform(0.7, 3))


def bicycle(random, drawn):
    """Wheels joined by bars."""
    for _ in range(random.integers(1, 3)):
        wheel(random, drawn)
    for _ in range(random.integers(2, 7)):
        lines(drawn, [[somewhere(random), somewhere(random)]],
              log_uniform(random, 1.2, 8))
    if chance(random, 0.6):
        radial(random, drawn, random.uniform(0.1, 0.25) * SIDE)


def fence(random, drawn):
    """Bars, or a grid of them, at any angle."""
    spacing = log_uniform(random, 9, 60)
    width = max(1, spacing * random.uniform(0.06, 0.5))
    first = random.uniform(0, math.pi)
    angles = [first]
    if chance(random, 0.5):
        angles.append(first + math.pi / 2 + random.normal(0, 0.15))
    for angle in angles:
        along = numpy.array([math.cos(angle), math.sin(angle)])
        across = numpy.array([-along[1], along[0]])
        offsets = numpy.arange(-SIDE, SIDE, spacing)
        offsets = offsets + random.normal(0, 0.06 * spacing, len(offsets))
        centres = SIDE / 2 + offsets[:, None] * across
        lines(drawn, numpy.stack([centres - 1.5 * SIDE * along,
                                  centres + 1.5 * SIDE * along], 1), width)


def glyph(random, drawn, library):
    """A letter or two, larger than the picture or much smaller."""
    text = "".join(chr(random.integers(33, 127))
                   for _ in range(random.integers(1, 3)))
    font = library.font(random,
                        int(log_uniform(random, 0.4, 2.4) * SIDE * SCALE))
    image = Image.new("L", drawn.shape[::-1])
    pen = ImageDraw.Draw(image)
    box = pen.textbbox((0, 0), text, font=font)
    place = SIDE * SCALE * random.uniform(0.25, 0.75, 2)
    pen.text((place[0] - (box[0] + box[2]) / 2,
              place[1] - (box[1] + box[3]) / 2), text, font=font, fill=255)
    turn = cv2.getRotationMatrix2D((SIDE, SIDE), random.normal(0, 25), 1)
    numpy.maximum(drawn, cv2.warpAffine(
        numpy.asarray(image), turn, drawn.shape[::-1]), out=drawn)


# ------------------------------------------------------------ whole alphas


def half_plane(random):
    """One long boundary across the picture, smooth to ragged."""
    angle = random.uniform(0, 2 * math.pi)
    line = numpy.arange(SIDE, dtype=numpy.float32) - SIDE / 2
    ramp = math.cos(angle) * line + math.sin(angle) * line[:, None]
    ramp = (ramp + random.uniform(-0.25, 0.25) * SIDE) / SIDE
    roughness = random.uniform(0.1, 0.7)
    waves = fractal(random, roughness, int(random.integers(1, 5)))
    return level_set(ramp + log_uniform(random, 0.02, 0.25) * waves,
                     random.uniform(0.8, 2))


def clouds(random):
    """Patches with holes, such as foliage against the sky."""
    waves = fractal(random, random.uniform(0.3, 0.9),
                    int(random.integers(1, 6)))
    waves /= waves.std() + 1e-3
    return level_set(waves + random.uniform(-0.8, 0.8),
                     random.uniform(0.8, 2))


def drawing(random, library, kind):
    """An alpha of one of the KINDS."""
    if kind == "half-plane":
        return half_plane(random)
    if kind == "clouds":
        return clouds(random)
    drawn = canvas()
    if kind == "radial":
        radial(random, drawn)
    elif kind == "limbs":
        if chance(random, 0.7):
            radial(random, drawn)
        limbs(random, drawn)
    elif kind == "bicycle":
        bicycle(random, drawn)
    elif kind == "branches":
        if chance(random, 0.4):
            radial(random, drawn)
        for _ in range(random.integers(1, 4)):
            branches(random, drawn)
    elif kind == "fence":
        fence(random, drawn)
    else:
        glyph(random, drawn, library)
    return finish(drawn)


# how often each is drawn
KINDS = {"half-plane": 0.22, "radial": 0.22, "limbs": 0.18, "clouds": 0.06,
         "bicycle": 0.1, "branches": 0.1, "fence": 0.03, "glyph": 0.09}


# --------------------------------------------------- changes to any outline


def enlarged(alpha):
    """An alpha at the canvas' size."""
    return cv2.resize(alpha, (SIDE * SCALE, SIDE * SCALE),
                      interpolation=cv2.INTER_LINEAR)


def fur(random, alpha):
    """Hair along the boundary: a short coat, tufts, or single strands."""
    drawn = enlarged(alpha)
    found, _ = cv2.findContours(cv2.inRange(drawn, 128, 255),
                                cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not found:
        return alpha
    roots = numpy.concatenate(found)[:, 0]
    inside = (roots > 1).all(1) & (roots < SIDE * SCALE - 2).all(1)
    roots = roots[inside & (random.random(len(roots))
                            < log_uniform(random, 0.08, 0.6))]
    if not len(roots):
        return alpha
    smooth = cv2.blur(cv2.blur(alpha, (9, 9)), (9, 9)).astype(numpy.float32)
    x, y = (roots // SCALE).T
    outward = numpy.arctan2(-cv2.Sobel(smooth, cv2.CV_32F, 0, 1)[y, x],
                            -cv2.Sobel(smooth, cv2.CV_32F, 1, 0)[y, x])
    count = len(roots)
    # hair lies the same way along a stretch
    lean = random.uniform(-1.2, 1.2) + fractal(random, 0.3, 2)[y, x] * 0.5
    heading = outward + lean + random.normal(0, random.uniform(0.05, 0.5),
                                             count)
    curl = random.normal(0, random.uniform(0.1, 0.8), count)
    length = log_uniform(random, 2.5, 22) * random.uniform(0.3, 1.2, count)
    along = numpy.linspace(0, 1, 4)
    direction = heading[:, None] + curl[:, None] * along
    paths = numpy.stack([numpy.cos(direction), numpy.sin(direction)], 2)
    paths *= (length[:, None] * along)[..., None]
    paths += roots[:, None] / SCALE
    width = random.uniform(0.5, 1.6)
    for value in (130, 190, 255):
        lines(drawn, paths[random.random(count) < 0.5], width, value)
    # the strokes' translucency must not thin what was there
    return numpy.maximum(finish(drawn), alpha)


def holes(random, alpha):
    """Cut openings: small and many, slits, or a few large ones."""
    drawn = enlarged(alpha)
    inner = numpy.flatnonzero(cv2.erode(alpha, numpy.ones((5, 5), numpy.uint8))
                              > 127)
    if not len(inner):
        return alpha
    size = log_uniform(random, 1.5, 18)
    for _ in range(1 + int(log_uniform(random, 1, 60 / size))):
        y, x = divmod(int(inner[random.integers(len(inner))]), SIDE)
        axes = size * random.uniform(0.6, 1.4) * numpy.array(
            [1, random.uniform(0.2, 1)])
        if chance(random, 0.8):
            ellipse(drawn, (x, y), axes, random.uniform(0, 180), 0)
        else:
            corners = random.uniform(-size, size, (3, 2))
            polygon(drawn, corners + (x, y), 0)
    return numpy.minimum(finish(drawn), alpha)


def thin_parts(random, alpha):
    """Add whiskers, twigs or limbs to an outline."""
    drawn = enlarged(alpha)
    add = (whiskers, branches, limbs)[random.integers(3)]
    add(random, drawn)
    return numpy.maximum(finish(drawn), alpha)
