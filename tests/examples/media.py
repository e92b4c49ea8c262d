# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small videos and pictures for the tests of examples and documentation.

A bright disc wanders over dark noise: frames, and coarse masks of half their
size.
"""

import dataclasses

import numpy

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstVideo", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, Gst, GstApp, GstVideo  # noqa: E402,F401

WIDTH, HEIGHT, RATE, COUNT = 120, 90, 25, 8
PATIENCE = 60 * Gst.SECOND  # on a busy machine


@dataclasses.dataclass
class Frame:
    """A decoded frame: its time, format and components, each HxW."""

    pts: int
    format: str
    planes: list


def wait(pipeline):
    """Wait for the end of a pipeline that plays; raise its error."""
    message = pipeline.get_bus().timed_pop_filtered(
        PATIENCE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
    if not message:
        raise TimeoutError("the pipeline does not end")
    if message.type == Gst.MessageType.ERROR:
        raise message.parse_error()[0]


def disc(number):
    """Return where the object is, HxW of bool, in frame `number`."""
    y, x = numpy.mgrid[:HEIGHT, :WIDTH]
    return (x - 40 - 4 * number) ** 2 + (y - 45) ** 2 < 30 ** 2


def image(number):
    """Return frame `number`, HxWx3."""
    random = numpy.random.default_rng(number)
    noise = random.integers(0, 60, (HEIGHT, WIDTH, 3), numpy.uint8)
    return numpy.where(disc(number)[..., None], 255 - noise, noise)


def mask(number):
    """Return the coarse mask of frame `number`, of half its size."""
    coarse = disc(number)[::2, ::2].astype(numpy.uint8) * 255
    return numpy.ascontiguousarray(coarse)


def write(path, branch, pictures):
    """Write {number: HxW or HxWx3} as a file.

    `branch` is what encodes and muxes.
    """
    pipeline = Gst.parse_launch(
        f"appsrc name=source format=time ! videoconvert ! {branch} "
        f"! filesink name=file")
    pipeline.get_by_name("file").set_property("location", path)
    source = pipeline.get_by_name("source")
    height, width = next(iter(pictures.values())).shape[:2]
    grey = next(iter(pictures.values())).ndim == 2
    source.set_property("caps", Gst.Caps.from_string(
        f"video/x-raw,format={'GRAY8' if grey else 'RGB'},width={width},"
        f"height={height},framerate={RATE}/1"))
    pipeline.set_state(Gst.State.PLAYING)
    for number, picture in pictures.items():
        buffer = Gst.Buffer.new_wrapped(picture.tobytes())
        buffer.duration = Gst.SECOND // RATE
        buffer.pts = number * buffer.duration
        source.push_buffer(buffer)
    source.end_of_stream()
    try:
        wait(pipeline)
    finally:
        pipeline.set_state(Gst.State.NULL)


def write_video(path, video_format="I420"):
    """Write the frames, lossless."""
    write(path, f"video/x-raw,format={video_format} ! avenc_ffv1 "
          "! matroskamux", {i: image(i) for i in range(COUNT)})


def write_masks(path, missing=()):
    """Write the coarse masks but for those of the frames `missing`."""
    write(path, "video/x-raw,format=GRAY8 ! avenc_ffv1 ! matroskamux",
          {i: mask(i) for i in range(COUNT) if i not in missing})


def components(sample):
    """Return a sample as a Frame."""
    info = GstVideo.VideoInfo.new_from_caps(sample.get_caps())
    buffer = sample.get_buffer()
    data = numpy.frombuffer(buffer.extract_dup(0, buffer.get_size()),
                            numpy.uint8)
    planes = []
    for c in range(info.finfo.n_components):
        pixels = info.finfo.pixel_stride[c]
        width = -(-info.width // (1 << info.finfo.w_sub[c]))
        height = -(-info.height // (1 << info.finfo.h_sub[c]))
        plane = info.finfo.plane[c]
        wide = info.finfo.depth[c] > 8
        rows = numpy.lib.stride_tricks.as_strided(
            data[info.offset[plane] + info.finfo.poffset[c]:],
            (height, width, 2 if wide else 1),
            (info.stride[plane], pixels, 1))
        rows = numpy.ascontiguousarray(rows)
        planes.append(rows.view("<u2" if wide else "u1")[..., 0])
    return Frame(buffer.pts, info.finfo.name, planes)


def play(description, **locations):
    """Return the frames that come out of the appsink "out".

    Elements named like a keyword get that location.
    """
    pipeline = Gst.parse_launch(description)
    for name, location in locations.items():
        pipeline.get_by_name(name).set_property("location", location)
    sink = pipeline.get_by_name("out")
    sink.set_property("sync", False)
    pipeline.set_state(Gst.State.PLAYING)
    frames = []
    try:
        while True:
            sample = sink.try_pull_sample(PATIENCE)
            if not sample:
                wait(pipeline)
                return frames
            frames.append(components(sample))
    finally:
        pipeline.set_state(Gst.State.NULL)


def decode(path, caps="video/x-raw"):
    """Return the frames of a file."""
    return play(f"filesrc name=file ! decodebin ! videoconvert ! {caps} "
                "! appsink name=out", file=path)


def refine(video, masks, caps="video/x-raw,format=GRAY8"):
    """Return what the element makes of two files."""
    return play(
        f"cascadepsprefine name=refine ! {caps} ! appsink name=out "
        "filesrc name=video ! decodebin ! queue ! refine.sink "
        "filesrc name=masks ! decodebin ! videoconvert ! queue ! refine.mask",
        video=video, masks=masks)
