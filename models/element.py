# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run the element cascadepsprefine on pictures in memory.

One pipeline, two appsrc and an appsink; frames of any size, one after the
other. The plugin is looked for in GST_PLUGIN_PATH, in the build folder
(${BUILD:-build} in the repository's root) and where plugins are installed.
"""

import os

import cv2
import numpy

# Before the plugin brings OpenMP: threads that wait for others by spinning
# take many times as long where the machine has other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import gi  # noqa: E402

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
from gi.repository import GLib, Gst, GstApp  # noqa: E402,F401

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir)
PIPELINE = """
  cascadepsprefine name=refine ! appsink name=alphas sync=false
  appsrc name=frames format=time ! refine.sink
  appsrc name=masks format=time ! refine.mask"""
DURATION = Gst.SECOND // 25  # of a frame; any will do
ALIGNMENT = 4  # of rows, in bytes


class ElementError(Exception):
    """The element cannot be had, cannot start or has failed."""


def initialise():
    """Start GStreamer so that it finds the plugin."""
    if Gst.is_initialized():
        return
    build = os.path.join(ROOT, os.environ.get("BUILD", "build"), "gst")
    paths = [os.environ.get("GST_PLUGIN_PATH"), os.path.abspath(build)]
    os.environ["GST_PLUGIN_PATH"] = os.pathsep.join(filter(None, paths))
    Gst.init(None)
    if not Gst.ElementFactory.find("cascadepsprefine"):
        raise ElementError(
            "GStreamer finds no element cascadepsprefine: build it (meson "
            "setup build && meson compile -C build), or name its folder in "
            "GST_PLUGIN_PATH")


def sample_of(array, format_name, number):
    """Wrap HxW or HxWx4 pixels as the frame `number` of a video."""
    height, width = array.shape[:2]
    padding = [(0, 0)] * array.ndim
    if array.ndim == 2:
        padding[1] = (0, -width % ALIGNMENT)
    buffer = Gst.Buffer.new_wrapped(numpy.pad(array, padding).tobytes())
    buffer.pts = number * DURATION
    buffer.duration = DURATION
    caps = Gst.Caps.from_string(
        f"video/x-raw,format={format_name},width={width},height={height},"
        f"framerate=25/1")
    return Gst.Sample.new(buffer, caps, None, None)


class Element:
    """A pipeline that runs, with one element.

    `initialise` comes first. `properties` are the element's, by name, as text.
    """

    def __init__(self, properties):
        self.number = 0
        self.pipeline = Gst.parse_launch(PIPELINE)
        self.frames, self.masks, self.alphas, refine = map(
            self.pipeline.get_by_name,
            ("frames", "masks", "alphas", "refine"))
        for name, value in properties.items():
            Gst.util_set_object_arg(refine, name, value)
        self.element = refine
        result = self.pipeline.set_state(Gst.State.PLAYING)
        if result == Gst.StateChangeReturn.FAILURE:
            self.check()
            self.close()
            raise ElementError("the pipeline does not start")

    def check(self):
        """If it has failed, close it and raise what it says."""
        message = self.pipeline.get_bus().pop_filtered(Gst.MessageType.ERROR)
        if message:
            self.close()
            raise ElementError(message.parse_error()[0].message)

    def describe(self):
        """Return what computes, and in which numbers."""
        stats = self.element.get_property("stats")
        return " on ".join(map(stats.get_string, ("precision", "device")))

    def refine(self, image, mask):
        """Return the alpha, HxW, of an image HxWx3 (BGR) and its mask HxW."""
        height, width = image.shape[:2]
        for source, array, name in (
                (self.frames, cv2.cvtColor(image, cv2.COLOR_BGR2BGRA), "BGRx"),
                (self.masks, mask, "GRAY8")):
            source.push_sample(sample_of(array, name, self.number))
        self.number += 1
        while not (sample := self.alphas.try_pull_sample(Gst.SECOND)):
            self.check()
        buffer = sample.get_buffer()
        alpha = numpy.frombuffer(buffer.extract_dup(0, buffer.get_size()),
                                 numpy.uint8)
        return alpha.reshape(height, -1)[:, :width]

    def close(self):
        """End the pipeline."""
        self.pipeline.set_state(Gst.State.NULL)
