#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Spoil the kernels' PTX in ways that the tests must find, in TAP.

    test-planted.py PROGRAM PTX...

PROGRAM is what compares the kernels with the reference.
"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

import tap  # noqa: E402

# What is done to which kernel, the first time or always, and the test that
# must fail: (name, kernel, pattern, replacement, count, test)
PLANTED = (
    ("no barrier in a pool", "cpsp_grid_pool_f16",
     r"bar\.sync \t0;", "", 0, "/ops/grid-pool/fp16"),
    ("no barrier in a head", "cpsp_head_f16",
     r"bar\.sync \t0;", "", 0, "/ops/head/fp16"),
    ("a shuffle of half a warp", "cpsp_grid_pool_f16",
     r"((?:mov|shfl)\..*), -1;", r"\1, 65535;", 0, "/ops/grid-pool/fp16"),
    ("threads beyond the row", "cpsp_max_pool_f16",
     r"@%p1 bra \t\$\w+;", "", 1, "/ops/max-pool/fp16"),
    ("a store at an odd place", "cpsp_upsample_f16",
     r"(st\.global\.v4\.\w+ \t\[%rd\d+)\]", r"\1+8]", 0,
     "/ops/upsample/fp16"),
    ("a load of what is beyond", "cpsp_concat_f32",
     r"(ld\.global\.v4\.f32 .*\[%rd\d+)\]", r"\1+1048576]", 1,
     "/ops/concat/fp32"),
    ("a sum for a difference", "cpsp_pyramid_f32",
     r"\bsub\.f32\b", "add.f32", 0, "/ops/pyramid/fp32"),
    ("a minimum for a maximum", "cpsp_max_pool_f32",
     r"\bmax\.f32\b", "min.f32", 0, "/ops/max-pool/fp32"),
    ("a value that is never made", "cpsp_accumulate",
     r"ld\.global\.f32 .*;", "", 1, "/results/accumulate/fp32"),
)


def spoil(text, kernel, pattern, replacement, count):
    """Return PTX with one kernel changed."""
    start = text.index(f".entry {kernel}(")
    end = text.index("\n}", start)
    body, number = re.subn(pattern, replacement, text[start:end], count=count)
    assert number > 0, f"{kernel} has nothing like {pattern}"
    return text[:start] + body + text[end:]


def run(program, paths, test):
    """Return how PROGRAM went with those files, and what it said."""
    env = dict(os.environ, PTX_FILES=":".join(map(str, paths)),
               CPSP_TEST_ITERATIONS="4")
    done = subprocess.run([program, "--seed", "1", "-p", test], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    lines = [line for line in done.stdout.splitlines() if "PTX line" in line
             or "differ" in line] or done.stdout.splitlines()
    return done.returncode, lines[0] if lines else ""


def find(program, paths, kernel, pattern, replacement, count, test):
    """Fail unless PROGRAM passes, and does not with the kernel spoilt."""
    status, said = run(program, paths, test)
    assert status == 0, said
    with tempfile.TemporaryDirectory() as folder:
        spoilt = pathlib.Path(folder, "spoilt.ptx")
        for path in paths:
            text = path.read_text(encoding="utf-8")
            if f".entry {kernel}(" in text:
                spoilt.write_text(spoil(text, kernel, pattern, replacement,
                                        count), encoding="utf-8")
        status, said = run(program, [spoilt] + paths, test)
    print("#", said)
    assert status != 0, f"{kernel}: not found"


def main():
    """Run a test for each planted fault."""
    program, *paths = map(pathlib.Path, sys.argv[1:])
    tests = []
    for name, *planted in PLANTED:
        def test(planted=tuple(planted)):
            find(program, paths, *planted)
        test.__name__ = "test_" + name
        tests.append(test)
    return tap.run(tests)


if __name__ == "__main__":
    sys.exit(main())
