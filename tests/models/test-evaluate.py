#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/evaluate, end to end through the built plugin, in TAP."""

import contextlib
import importlib.machinery
import importlib.util
import io
import json
import math
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.abspath(os.path.join(HERE, "..", "..", "models"))
PROGRAM = os.path.join(MODELS, "evaluate")
sys.dont_write_bytecode = True
sys.path.insert(0, MODELS)
sys.path.insert(0, os.path.join(HERE, ".."))

import tap  # noqa: E402

tap.need("cv2", "gi", "numpy", typelibs=("Gst", "GstApp"))

import cv2  # noqa: E402
import numpy  # noqa: E402

import element  # noqa: E402
import metrics  # noqa: E402
import validation  # noqa: E402

LOADER = importlib.machinery.SourceFileLoader("evaluate", PROGRAM)
program = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("evaluate", LOADER))
# as if imported: dataclasses look there
sys.modules["evaluate"] = program
LOADER.exec_module(program)

NAME = "cascadepsp-small"
DEFAULT = os.path.join(MODELS, NAME + ".safetensors")
SIZES = ((130, 98), (121, 160), (160, 120))  # width, height


def evaluate(*arguments):
    """Run the program; return its exit status, output and complaint."""
    with contextlib.redirect_stdout(io.StringIO()) as output, \
            contextlib.redirect_stderr(io.StringIO()) as complaint:
        try:
            status = program.main(list(arguments))
        except SystemExit as stop:  # argparse
            status = stop.code
    return status, output.getvalue(), complaint.getvalue()


def scene(width, height, shift=0):
    """A bright star on dark noise: the image and its mask."""
    random = numpy.random.default_rng(width)
    noise = random.integers(0, 60, (height, width, 3), numpy.uint8)
    angles = numpy.arange(10) * math.pi / 5
    reach = min(width, height) * numpy.where(numpy.arange(10) % 2, 0.18, 0.42)
    corners = numpy.stack([width / 2 + shift + reach * numpy.sin(angles),
                           height / 2 - reach * numpy.cos(angles)], axis=1)
    mask = numpy.zeros((height, width), numpy.uint8)
    cv2.fillPoly(mask, [corners.round().astype(numpy.int32)], 255)
    return numpy.where(mask[..., None], 255 - noise, noise), mask


def write(path, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    assert cv2.imwrite(path, pixels)


def write_sets():
    """The same three stills in two layouts, and a video of seven frames."""
    for number, size in enumerate(SIZES):
        image, mask = scene(*size)
        write(f"beside/part/{number}x_im.png", image)
        write(f"beside/part/{number}x_gt.png", mask)
        write(f"folders/Images/part/{number}x.png", image)
        write(f"folders/masks/part/{number}x.png", mask)
    for number in range(7):
        image, mask = scene(96, 64, 2 * number)
        write(f"video/{number + 8:02}_im.png", image)
        write(f"video/{number + 8:02}_gt.png", mask)


def table(*arguments):
    """Run the program; return its exit status and the table."""
    status, _, complaint = evaluate(*arguments, "--json", "table.json")
    if complaint:
        print(f"# {complaint}")
    with open("table.json", encoding="utf-8") as file:
        return status, json.load(file)


def expected_row(kind):
    """The values of `beside`, by the element without the program."""
    runner = element.Element({"model-location": DEFAULT})
    rows = {}
    for title in ("coarse", NAME):
        pixels, accuracies = numpy.zeros(2), []
        for item in validation.items("beside"):
            image, truth = item.read()
            mask = validation.coarse_mask(item, truth, kind)
            if title == NAME:
                mask = runner.refine(image, mask)
            pixels += metrics.overlap(mask, truth)
            accuracies.append(metrics.boundary_accuracy(mask, truth))
        rows[title] = {"iou": 100 * pixels[0] / pixels[1],
                       "mba": 100 * sum(accuracies) / len(accuracies)}
    runner.close()
    return rows


def test_table():
    status, tables = table("beside")
    yield "three pictures", status == 0
    rows = tables["beside"]
    yield ("a row for each kind, and means",
           list(rows) == [*validation.KINDS, "mean", "low"])
    for kind in ("48", "paper"):
        yield (f"{kind}: the element's values", all(
            abs(rows[kind][title][name] - value) < 1e-3
            for title, values in expected_row(kind).items()
            for name, value in values.items()))
    for title in ("coarse", NAME):
        yield (f"{title}: means", all(
            abs(rows[label][title][name]
                - numpy.mean([rows[kind][title][name] for kind in kinds]))
            < 1e-3 for name in ("iou", "mba", "biou")
            for label, kinds in (("mean", validation.KINDS),
                                 ("low", ("48", "64", "96")))))
    yield ("the model refines a star of 48 pixels",
           rows["48"][NAME]["mba"] > rows["48"]["coarse"]["mba"] + 5)
    yield ("nothing over time of stills",
           rows["48"][NAME]["dtssd"] is None)
    yield "once more, the same", table("beside")[1] == tables
    yield ("the other layout, the same",
           table("folders")[1]["folders"] == rows)
    yield ("the other layout, spelt out", table(
        "folders/Images:folders/masks")[1]["Images"] == rows)


def test_choice():
    kinds = ("--kinds", "64,late")
    status, output, _ = evaluate(*kinds, "--every", "2", "--wide", "beside")
    yield ("one of two pictures, BIoU too", status == 0
           and "beside, 2 pictures, IoU/mBA/BIoU" in output)
    status, output, _ = evaluate(*kinds, "--limit", "1", "beside", "folders")
    yield ("no more than one; mean of two sets", status == 0
           and "folders, 1 pictures" in output
           and "mean of the sets" in output)
    _, tables = table(*kinds, "--local", "never,always", "--crop-size", "96",
                      "--precision", "fp32", "--model", DEFAULT, "beside")
    row = tables["beside"]["64"]
    yield ("columns for settings", list(row) == [
        "coarse", f"{NAME} never", f"{NAME} always"])
    yield ("and they differ", row[f"{NAME} never"] != row[f"{NAME} always"])


def test_video():
    status, tables = table("--kinds", "96,late", "video")
    rows = tables["video"]
    yield "a video", status == 0
    yield ("96 pixels are the truth", rows["96"]["coarse"]["iou"] == 100
           and rows["96"]["coarse"]["dtssd"] == 0
           and rows["96"]["coarse"]["flicker"] == 0)
    truths = [scene(96, 64, 2 * number)[1] for number in range(7)]
    pixels = numpy.sum([metrics.overlap(truths[number - 3], truths[number])
                        for number in range(3, 7)], axis=0)
    yield ("late is three frames late", abs(
        rows["late"]["coarse"]["iou"] - 100 * pixels[0] / pixels[1]) < 1e-3)
    yield ("every other pair", [item.name for item in validation.items(
        "video", 2)] == ["11", "12"])
    names = [(item.name, item.follows) for item in validation.items("video")]
    yield ("its frames", names == [("11", False), ("12", True), ("13", True),
                                   ("14", True)])


def test_baselines():
    arguments = ("--kinds", "48", "--baselines", "beside")
    status, tables = table(*arguments)
    row = tables["beside"]["48"]
    yield ("baselines", status == 0
           and list(row) == ["coarse", NAME, "guided", "grabcut"])
    _, output, _ = evaluate(*arguments, "--check")
    for title in ("guided", "grabcut"):
        for name in ("iou", "mba"):
            above = row[NAME][name] > row[title][name]
            sentences = [line for line in output.splitlines()
                         if f"beside mean: {NAME} {name}" in line
                         and f"({title})" in line]
            yield (f"{title} {name}: {'above' if above else 'a shortfall'}",
                   len(sentences) == (not above))
    # a star on black is easy for both
    for title in ("guided", "grabcut"):
        yield (f"{title} refines a star",
               row[title]["mba"] > row["coarse"]["mba"])
    _, output, _ = evaluate("--kinds", "48", "--baselines",
                            "--baseline-every", "2", "beside")
    yield ("a table of the baselines' pictures",
           "the 2 pictures of the baselines" in output)


def test_check():
    os.makedirs("models", exist_ok=True)
    if not os.path.exists("models/copy.safetensors"):
        os.symlink(DEFAULT, "models/copy.safetensors")
    arguments = ("--kinds", "48", "--check", "beside")
    status, output, _ = evaluate(*arguments)
    yield "above the coarse mask", status == 0 and "check: passed" in output
    status, output, _ = evaluate("--gain", "90", *arguments)
    yield ("a gain that nobody has", status == 1
           and f"check: beside low: {NAME} mba" in output)
    status, output, _ = evaluate("--model", DEFAULT, "--model",
                                 "models/copy.safetensors", *arguments)
    yield ("a model is not above its copy", status == 1
           and "check: beside 48: copy iou" in output
           and "check: beside 48: copy mba" in output
           and "2 shortfalls" in output)
    status, output, _ = evaluate("--local", "never,auto", *arguments)
    yield ("nor a small picture with the Local step", status == 1
           and f"beside mean: {NAME} auto mba" in output)
    status, output, _ = evaluate("--precision", "fp32,auto", *arguments)
    yield "a precision loses next to nothing", status == 0
    # 96 pixels are the truth, which nothing is above
    status, output, _ = evaluate("--kinds", "96", "--check", "video")
    yield ("not above the coarse mask", status == 1
           and f"check: video 96: {NAME} iou" in output)


def test_sheet():
    status, _, _ = evaluate("--kinds", "48,paper", "--sheet", "sheet.png",
                            "beside")
    sheet = cv2.imread("sheet.png")
    yield "a sheet", status == 0 and sheet is not None
    # image, coarse, model, truth; three rows of each kind
    yield ("its size", sheet.shape[1] // 300 == 4
           and sheet.shape[0] // 450 == 6)
    colours = {tuple(colour) for colour in sheet.reshape(-1, 3)}
    yield "what is wrong is coloured", {(80, 80, 255),
                                        (255, 160, 60)} <= colours


def test_mog2():
    """A bright square crosses a dark scene that never changes."""
    random = numpy.random.default_rng(2)
    ground = random.integers(0, 60, (96, 128, 3), numpy.uint8)
    figure = 100 + cv2.resize(random.integers(0, 155, (8, 8, 3), numpy.uint8),
                              (30, 30))
    video = cv2.VideoWriter("walk.avi", cv2.VideoWriter_fourcc(*"MJPG"), 10,
                            (128, 96))
    for number in range(40):
        image = ground.copy()
        if number >= 20:
            image[30:60, 3 * number - 30:3 * number] = figure
        video.write(image)
    video.release()
    status, tables = table("--mog2", "walk.avi", "--limit", "6", "--sheet",
                           "sheet.png")
    row = tables["walk.avi"]["mog2"]
    yield "a video without truth", status == 0
    print(f"# {row}")
    yield ("the model is steadier than MOG2",
           0 <= row[NAME]["unrest"] < row["coarse"]["unrest"])
    sheet = cv2.imread("sheet.png")
    yield "its sheet", sheet.shape[0] // 450 == 3


def refused(words, *arguments):
    """Whether it failed with one clear line."""
    status, _, complaint = evaluate(*arguments)
    good = (status == 1 and complaint.startswith("evaluate: ")
            and complaint.count("\n") == 1 and words in complaint)
    if not good:
        print(f"# status {status}: {complaint!r}")
    return good


def test_failure():
    """What fails while it runs, too, ends in an exception."""
    runner = element.Element({"model-location": DEFAULT})
    alpha = runner.refine(*scene(40, 30))
    yield "a frame", alpha.shape == (30, 40)
    try:
        runner.refine(*scene(40000, 2))
    except element.ElementError as problem:
        print(f"# {problem}")
        yield "a frame that is too large", True
    else:
        yield "a frame that is too large", False


def test_errors():
    image, mask = scene(40, 30)
    write("missing/a_im.png", image)
    yield "no mask", refused("missing/a_im.png: its mask", "missing")
    write("missing/a_gt.png", mask[:20])
    yield "another size", refused("40x20 pixels, but its picture has 40x30",
                                  "missing")
    with open("missing/a_gt.png", "w", encoding="ascii") as file:
        file.write("none")
    yield "not a picture", refused("missing/a_gt.png: not a pict", "missing")
    os.mkdir("empty")
    yield "an empty folder", refused("empty: neither", "empty")
    yield "no folder", refused("nowhere: no such folder", "nowhere")
    yield "no such model", refused("none.safetensors: No such file",
                                   "--model", "none.safetensors", "beside")
    with open("bad.safetensors", "wb") as file:
        file.write(b"hello, world")
    yield "not a model", refused("bad.safetensors", "--model",
                                 "bad.safetensors", "beside")
    yield "not a video", refused("not a video", "--mog2", "bad.safetensors")
    for arguments in ((), ("--kinds", "47", "beside"),
                      ("--local", "maybe", "beside"),
                      ("--every", "0", "beside")):
        yield (f"usage: {' '.join(arguments) or 'nothing'}",
               evaluate(*arguments)[0] == 2)


def run_alone(*arguments, **variables):
    """Run the program in a process of its own."""
    return subprocess.run(
        [sys.executable, PROGRAM, *arguments], check=False, text=True,
        capture_output=True, env={**os.environ, **variables})


def test_alone():
    result = run_alone("--kinds", "48", "--limit", "1", "beside")
    print(f"# {result.stderr!r}")
    yield "nothing but the table", result.returncode == 0 and not result.stderr
    result = run_alone("beside", BUILD="none", GST_PLUGIN_PATH="",
                       GST_REGISTRY=os.path.abspath("other.registry"))
    yield ("no plugin", result.returncode == 1
           and result.stderr.startswith("evaluate: GStreamer finds no element")
           and result.stderr.count("\n") == 1)


def main():
    element.initialise()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        write_sets()
        status = tap.report(tap.checks_of((
            test_table, test_choice, test_video, test_baselines, test_check,
            test_sheet, test_mog2, test_failure, test_errors, test_alone)))
        os.chdir("/")
    return status


if __name__ == "__main__":
    sys.exit(main())
