#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test what models/convert makes in the element itself, in TAP.

A checkpoint of the published shape, with random weights, must convert, load
and give PyTorch's result; the golden checkpoint must give the golden values,
for which the test program golden-element is run on it.

The arguments are the golden folder and that program.
"""

import importlib.machinery
import importlib.util
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "models")
sys.path.insert(0, MODELS)
sys.path.insert(0, os.path.join(HERE, ".."))
sys.dont_write_bytecode = True

import tap  # noqa: E402

tap.need("cv2", "gi", "numpy", "torch", typelibs=("Gst", "GstApp"))

import cv2  # noqa: E402
import numpy  # noqa: E402
import torch  # noqa: E402

import element  # noqa: E402
import reference  # noqa: E402

LOADER = importlib.machinery.SourceFileLoader(
    "convert", os.path.join(MODELS, "convert"))
convert = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("convert", LOADER))
LOADER.exec_module(convert)

TOLERANCE = 1  # of 255: what rounding to 8 bits leaves of 2e-4
SIZE = (72, 96)  # rows, columns


def draw(random):
    """Return a picture, HxWx3 in B G R, and a disc as its mask."""
    small = random.integers(0, 256, (9, 12, 3)).astype(numpy.uint8)
    image = cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
    mask = numpy.zeros(SIZE, numpy.uint8)
    cv2.circle(mask, (50, 34), 22, 255, -1)
    return image, mask


def check_published(folder):
    """Compare the element with PyTorch on 67.7 million random weights."""
    module = reference.random_module(reference.WIDTHS["published"])
    checkpoint = os.path.join(folder, "published.pth")
    torch.save({"module." + name: tensor
                for name, tensor in module.state_dict().items()}, checkpoint)
    path = os.path.join(folder, "published.safetensors")
    if convert.main([checkpoint, path]) != 0:
        return "it does not convert"

    image, mask = draw(numpy.random.default_rng(1))
    with torch.no_grad():
        expected = reference.refine(
            module, reference.normalise(image[..., ::-1].copy()),
            reference.binarise(mask), 900, "paper", local=False)
    expected = 255 * expected[0, 0].numpy()
    refiner = element.Element({
        "model-location": path, "precision": "fp32", "local-step": "never"})
    result = refiner.refine(image, mask)
    refiner.close()
    error = numpy.abs(result - expected).max()
    print(f"# largest difference {error:.2f} of 255, "
          f"values {expected.min():.0f} to {expected.max():.0f}")
    if expected.std() < 5:
        return "the network says nothing"
    return "" if error <= TOLERANCE else f"differs by {error:.1f} of 255"


def check_golden(folder, golden, program):
    """Run the golden cases on the converted golden checkpoint."""
    path = os.path.join(folder, "mini.safetensors")
    if convert.main([os.path.join(golden, "mini.pth"), path]) != 0:
        return "it does not convert"
    result = subprocess.run(
        [program], env={**os.environ, "CPSP_MODEL": path},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode != 0:
        for line in result.stdout.splitlines():
            print("#", line)
        return f"golden-element ends with {result.returncode}"
    return ""


def main(golden, program):
    element.initialise()
    with tempfile.TemporaryDirectory() as folder:
        problems = {
            "published shape": check_published(folder),
            "golden checkpoint": check_golden(folder, golden, program)}
    print(f"1..{len(problems)}")
    for number, (name, problem) in enumerate(problems.items(), 1):
        print(f"{'not ok' if problem else 'ok'} {number} - {name} {problem}")
    return int(any(problems.values()))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
