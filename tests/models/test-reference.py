#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/reference.py, in TAP. The argument is the golden folder."""

import itertools
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "models"))
sys.path.insert(0, os.path.join(HERE, ".."))

import tap  # noqa: E402

tap.need("PIL", "numpy", "torch")

import torch  # noqa: E402

import reference  # noqa: E402

ODD_WIDTHS = ("stem=5,planes=3/4/6/7,blocks=1/2/1/2,psp=9,up=8/6/5,"
              "heads=3/4/2")


def same_state(one, other):
    """Whether two modules hold the same tensors under the same names."""
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one)


def test_golden(folder):
    """Each tensor of the golden files, and the checkpoint beside them."""
    module = reference.load(os.path.join(folder, "mini.safetensors"))
    for check in reference.check_golden(module, folder):
        yield (f"{check.name}: max error {check.error:.1e}, "
               f"{check.share:.3%} within {reference.CASE_TOLERANCE}",
               check.passed)
    checkpoint = reference.load(os.path.join(folder, "mini.pth"))
    yield "mini.pth holds the same weights", same_state(module, checkpoint)


def test_random_module():
    """Random modules: reproducible, well-behaved, stored without loss."""
    odd = reference.Widths.parse(ODD_WIDTHS)
    module = reference.random_module(odd, seed=3)
    yield ("equal seeds give equal weights",
           same_state(module, reference.random_module(odd, seed=3)))

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "odd.safetensors")
        reference.main(["write-random", "--widths", ODD_WIDTHS,
                        "--seed", "3", path])
        stored = reference.load(path)
    yield "widths are read from the tensor shapes", stored.widths == odd
    yield "write-random stores the module", same_state(module, stored)

    noise = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, 48, 64, generator=noise)
    seg = torch.randn(1, 1, 48, 64, generator=noise).sign()
    for name in ("mini", "s"):
        module = reference.random_module(reference.WIDTHS[name])
        with torch.no_grad():
            logit = reference.cascade(module, image, seg)[-1][1]
        yield (f"random module of width {name}: logits are finite and tame",
               bool(torch.isfinite(logit).all()) and logit.abs().max() < 50)


def test_crops():
    """The Local step's crops."""
    crops = reference.crops(2160, 3840, 900)
    yield "3840x2160 has the reference's 45 crops", len(crops) == 45
    yield "crops run once", len(set(crops)) == len(crops)
    yield ("crops are whole and inside the frame",
           all(bottom - top == right - left == 900 and bottom <= 2160
               and right <= 3840 for top, bottom, left, right in crops))
    yield ("a small frame is one crop",
           reference.crops(90, 120, 128) == [(0, 90, 0, 120)])
    yield ("a frame of exactly the crop size is one crop",
           len(reference.crops(900, 900, 900)) == 1)


def main(folder):
    return tap.report(itertools.chain(
        test_golden(folder), test_random_module(), test_crops()))


if __name__ == "__main__":
    GOLDEN = os.path.join(HERE, "..", "golden")
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else GOLDEN))
