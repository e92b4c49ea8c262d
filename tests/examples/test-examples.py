#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run every example and look at what it made, in TAP.

test-examples.py [REFINE-FRAMES]: the built C application, if there is one.
"""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(HERE))

import tap  # noqa: E402

tap.need("gi", "numpy", typelibs=("Gst", "GstApp", "GstVideo"))

import numpy  # noqa: E402

import media  # noqa: E402
from media import COUNT, Gst  # noqa: E402

EXAMPLES = os.path.abspath(os.path.join(HERE, "..", "..", "examples"))
ELEMENTS = ("alphacombine", "avenc_ffv1", "capssetter", "compositor",
            "matroskamux", "segmentation", "vp8enc", "webmmux")
TIMES = [number * Gst.SECOND // media.RATE for number in range(COUNT)]
# name: (arguments that work but for their files, the files that come in)
USES = {
    "refine-video": (["VIDEO", "MASKS", "out.mkv"], 2),
    "refine-picture": (["PICTURE", "MASK", "out.png"], 2),
    "composite": (["VIDEO", "MASKS", "PICTURE", "out.webm"], 3),
    "key-and-fill": (["VIDEO", "MASKS", "key.mkv", "fill.mkv"], 2),
    "own-segmentation": (["VIDEO", "out.mkv"], 1),
}


def example(name, *arguments, **environment):
    """Run an example; return its status, output and complaint."""
    program = name if os.path.isabs(name) else os.path.join(EXAMPLES, name)
    done = subprocess.run([program, *arguments], capture_output=True,
                          text=True, timeout=240, check=False,
                          env={**os.environ, **environment})
    return done.returncode, done.stdout, done.stderr


def succeed(name, *arguments):
    """Run an example that must work and be silent about errors."""
    status, _, complaint = example(name, *arguments)
    assert status == 0 and not complaint, (status, complaint)


def complain(name, *arguments, about="", **environment):
    """Run an example that must fail, with one sentence."""
    status, output, complaint = example(name, *arguments, **environment)
    assert status == 1 and not output, (status, output)
    assert complaint.count("\n") == 1, complaint
    assert complaint.startswith(os.path.basename(name) + ": "), complaint
    assert about in complaint, complaint


def equal(planes, others):
    """Check that two lists of pictures are the same, value for value."""
    for number, (plane, other) in enumerate(zip(planes, others, strict=True)):
        difference = numpy.abs(plane.astype(int) - other.astype(int))
        assert not difference.any(), (number, difference.max())


def times(frames):
    """Return the timestamps; Matroska has milliseconds."""
    return [round(frame.pts / Gst.MSECOND) * Gst.MSECOND for frame in frames]


def alphas(frames):
    """Return the last component of each frame."""
    return [frame.planes[-1] for frame in frames]


def overlap(alpha, number):
    """Return the intersection over union with the disc of a frame."""
    object_ = media.disc(number)
    return ((alpha > 127) & object_).sum() / ((alpha > 127) | object_).sum()


def test_refine_video():
    """Same frames and times, the element's alpha, the video's samples."""
    succeed("refine-video", "video.mkv", "masks.mkv", "out.mkv")
    frames = media.decode("out.mkv")
    assert {frame.format for frame in frames} == {"A420"}
    assert times(frames) == TIMES
    equal(alphas(frames), alphas(media.refine("video.mkv", "masks.mkv")))
    for plane in range(3):
        equal([frame.planes[plane] for frame in frames],
              [frame.planes[plane] for frame in media.decode("video.mkv")])
    assert min(overlap(a, i) for i, a in enumerate(alphas(frames))) > 0.8


def test_refine_video_of_ten_bits():
    """10 bits of 4:2:2 stay what they are."""
    media.write_video("ten.mkv", "I422_10LE")
    succeed("refine-video", "ten.mkv", "masks.mkv", "out.mkv")
    frames = media.decode("out.mkv")
    assert {frame.format for frame in frames} == {"A422_10LE"}
    equal([frame.planes[0] for frame in frames],
          [frame.planes[0] for frame in media.decode("ten.mkv")])
    assert max(alpha.max() for alpha in alphas(frames)) == 1023


def test_vp9_by_ffmpeg():
    """The guide's way to VP9 with alpha."""
    if not shutil.which("ffmpeg"):
        return "no ffmpeg"
    succeed("refine-video", "video.mkv", "masks.mkv", "out.mkv")
    subprocess.run("ffmpeg -v error -i out.mkv -c:v libvpx-vp9 "
                   "-pix_fmt yuva420p out.webm".split(), check=True)
    # GStreamer 1.26 loses the last frame, as all that alphacombine makes.
    subprocess.run("ffmpeg -v error -c:v libvpx-vp9 -i out.webm "
                   "-c:v ffv1 back.mkv".split(), check=True)
    frames = media.decode("back.mkv")
    os.remove("out.webm")
    os.remove("back.mkv")
    assert len(frames) == COUNT, len(frames)
    overlaps = [overlap(a, i) for i, a in enumerate(alphas(frames))]
    assert min(overlaps) > 0.8, overlaps
    return None


def test_refine_picture():
    """One picture, its colours, the element's alpha."""
    succeed("refine-picture", "photo.png", "coarse.png", "out.png")
    frame, = media.decode("out.png")
    assert frame.format == "RGBA"
    equal(frame.planes[:3], list(media.image(0).transpose(2, 0, 1)))
    equal([frame.planes[3]], alphas(media.refine("photo.png", "coarse.png")))


def test_camera():
    """The ball of the test picture is cut out, live."""
    succeed("camera", "--test", "--out=out.mkv")
    frames = media.decode("out.mkv")
    assert len(frames) == 20, len(frames)
    assert all(a < b for a, b in zip(times(frames), times(frames)[1:]))
    shares = [(alpha > 127).mean() for alpha in alphas(frames)]
    # the ball is a twelfth of the picture or so; on a busy machine some masks
    # come too late, and their frames pass whole
    assert sum(0 < share < 0.3 for share in shares) >= 3, shares


def test_camera_without_one():
    """No camera: a sentence, no window."""
    complain("camera", "--device=/dev/no-camera", about="/dev/no-camera")


def test_composite():
    """The object before the picture, for as long as the video."""
    succeed("composite", "video.mkv", "masks.mkv", "background.png",
            "out.webm")
    frames = media.decode("out.webm", "video/x-raw,format=RGB")
    assert len(frames) == COUNT, len(frames)
    alpha = alphas(media.refine("video.mkv", "masks.mkv"))
    for number, frame in enumerate(frames):
        picture = numpy.stack(frame.planes, axis=-1).astype(float)
        inside = picture[alpha[number] == 255].mean(axis=0)
        outside = picture[alpha[number] == 0].mean(axis=0)
        # bright noise; the background is (0, 0, 200)
        assert (inside > 190).all(), inside
        assert (numpy.abs(outside - (0, 0, 200)) < 30).all(), outside


def key_and_fill(masks, *options):
    """Return the frames of the key and those of the fill."""
    succeed("key-and-fill", *options, "video.mkv", masks, "key.mkv",
            "fill.mkv")
    key, fill = media.decode("key.mkv"), media.decode("fill.mkv")
    assert times(key) == TIMES, times(key)
    # GStreamer 1.26's compositor was seen to lose the very last frame
    assert times(fill) == TIMES or (
        options and times(fill) == TIMES[:-1]), times(fill)
    equal(alphas(key), alphas(media.refine("video.mkv", masks)))
    return key, fill


def test_straight_key_and_fill():
    """The fill is the video."""
    _, fill = key_and_fill("masks.mkv")
    equal([frame.planes[0] for frame in fill],
          [frame.planes[0] for frame in media.decode("video.mkv")])


def test_premultiplied_key_and_fill():
    """The fill is the video times the key, over black."""
    key, fill = key_and_fill("masks.mkv", "--premultiplied")
    for alpha, frame, source in zip(alphas(key), fill,
                                    media.decode("video.mkv")):
        luma = 16 + (source.planes[0] - 16.0) * alpha / 255
        difference = numpy.abs(frame.planes[0] - luma)
        assert difference.max() <= 3, difference.max()


def test_key_and_fill_over_a_dropout():
    """Frames without masks have a key all the same, at their times."""
    for options in (), ("--premultiplied",):
        key, _ = key_and_fill("gap.mkv", *options)
        assert min(overlap(a, i) for i, a in enumerate(alphas(key))) > 0.5


def test_own_segmentation():
    """Each mask meets the frame that it was made of."""
    status, output, complaint = example("own-segmentation", "video.mkv",
                                        "out.mkv")
    assert status == 0 and not complaint, (status, complaint)
    assert output.startswith(f"{COUNT} frames"), output
    frames = media.decode("out.mkv")
    assert times(frames) == TIMES
    # the same by hand: the mask of another frame would give another alpha
    loader = importlib.machinery.SourceFileLoader(
        "own", os.path.join(EXAMPLES, "own-segmentation"))
    own = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("own", loader))
    loader.exec_module(own)
    small = media.play(
        "filesrc location=video.mkv ! decodebin ! videoconvertscale "
        f"! video/x-raw,format=RGB,width={own.SMALL},height={own.SMALL} "
        "! appsink name=out")
    media.write("own-masks.mkv", "avenc_ffv1 ! matroskamux", {
        number: own.segment(numpy.stack(frame.planes, axis=-1))
        .astype(numpy.uint8) * 255 for number, frame in enumerate(small)})
    equal(alphas(frames), alphas(media.refine("video.mkv", "own-masks.mkv")))
    assert min(overlap(a, i) for i, a in enumerate(alphas(frames))) > 0.8


def write_portable(path, pixels):
    """Write binary PPM or PGM."""
    with open(path, "wb") as file:
        file.write(b"P%d %d %d 255\n" % (5 if pixels.ndim == 2 else 6,
                                         *pixels.shape[1::-1]))
        file.write(pixels.tobytes())


def read_portable(path):
    """Read a binary PGM."""
    with open(path, "rb") as file:
        assert file.readline() == b"P5\n"
        width, height = map(int, file.readline().split())
        assert file.readline() == b"255\n"
        return numpy.frombuffer(file.read(), numpy.uint8).reshape(height,
                                                                  width)


def test_refine_frames():
    """Two frames of different sizes through one pipeline."""
    if not REFINE_FRAMES:
        return "not built"
    narrow = numpy.ascontiguousarray(media.image(0)[:, :100])
    write_portable("0.ppm", media.image(0))
    write_portable("1.ppm", narrow)
    write_portable("0.pgm", media.mask(0))
    succeed(REFINE_FRAMES, "0.ppm", "0.pgm", "a.pgm",
            "1.ppm", "0.pgm", "b.pgm")
    media.write("narrow.png", "pngenc", {0: narrow})
    for path, picture in ("a.pgm", "photo.png"), ("b.pgm", "narrow.png"):
        equal([read_portable(path)], alphas(
            media.refine(picture, "coarse.png")))
    complain(REFINE_FRAMES, "0.ppm", "0.ppm", "a.pgm", about="0.ppm")
    complain(REFINE_FRAMES, "0.ppm", "0.pgm", "a.pgm", about="no-model",
             CPSP_MODEL="no-model")
    return None


def test_help():
    """--help explains, and does nothing else."""
    names = [name for name in os.listdir(EXAMPLES)
             if os.access(os.path.join(EXAMPLES, name), os.X_OK)
             and name != "demo"]
    assert set(names) == {*USES, "camera"}, names
    for name in filter(None, [*names, REFINE_FRAMES]):
        status, output, complaint = example(name, "--help")
        assert status == 0 and not complaint, (name, complaint)
        assert os.path.basename(name) in output.splitlines()[0], output
        assert "Needs: " in output or name == REFINE_FRAMES, output


def test_wrong_use():
    """Too many arguments: the same text, as a complaint."""
    for name in [*USES, "camera"]:
        status, output, complaint = example(name, *"abcdefg")
        assert status == 1 and not output and name in complaint, complaint


def test_missing_file():
    """Each file that does not exist is named."""
    for name, (arguments, files) in USES.items():
        for missing in range(files):
            complain(name, *("photo.png" if i < missing else argument
                             for i, argument in enumerate(arguments)),
                     about=arguments[missing])


def test_no_video():
    """A file that is no video: what GStreamer says of it."""
    for name, (arguments, files) in USES.items():
        complain(name, *(os.path.join(HERE, "media.py") if i < files
                         else argument
                         for i, argument in enumerate(arguments)))


def test_no_model():
    """The element's own error comes through."""
    names = {"VIDEO": "video.mkv", "MASKS": "masks.mkv",
             "PICTURE": "photo.png", "MASK": "coarse.png"}
    for name, (arguments, _) in USES.items():
        complain(name, *(names.get(argument, argument)
                         for argument in arguments),
                 about="no-model", CPSP_MODEL="no-model")
    complain("camera", "--test", "--out=out.mkv", about="no-model",
             CPSP_MODEL="no-model")


if __name__ == "__main__":
    REFINE_FRAMES = os.path.abspath(sys.argv[1]) if sys.argv[1:] else None
    Gst.init(None)
    absent = [name for name in ELEMENTS if not Gst.ElementFactory.find(name)]
    if absent:
        print("1..0 # SKIP GStreamer has no", *absent)
        sys.exit(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        media.write_video("video.mkv")
        media.write_masks("masks.mkv")
        media.write_masks("gap.mkv", missing=(3, 4))
        media.write("photo.png", "pngenc", {0: media.image(0)})
        media.write("coarse.png", "pngenc", {0: media.mask(0)})
        media.write("background.png", "pngenc", {0: numpy.full(
            (30, 40, 3), (0, 0, 200), numpy.uint8)})
        exit_status = tap.run([value for name, value in globals().items()
                               if name.startswith("test_")])
        os.chdir(HERE)
    sys.exit(exit_status)
