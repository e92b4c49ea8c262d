#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compare what nvcc made of the kernels with bounds.tsv, in TAP.

    test-compiler.py FOLDER ARCHITECTURE...          the test
    test-compiler.py --bounds FOLDER ARCHITECTURE... print a table as measured

FOLDER holds the PTX and the cubins that nvcc kept when it built the module.
NVCC compiles the planted faults.
"""

import collections
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

import tap  # noqa: E402
import compiled  # noqa: E402

COLUMNS = ("registers", "shared", "loads", "stores", "divisions", "in_loops")
Bound = collections.namedtuple("Bound", COLUMNS)
HEAD = """\
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What kernels may need, on every architecture: registers of a thread and
# bytes of a block's shared memory at most; 16-byte loads and stores of global
# memory at least; divisions of floats and of 64 bits at most, and those of
# them in inner loops (cpsp_finish: one per pixel, where rows are not aligned).
# Spilled registers and local memory: none.
#
"""


def read_bounds():
    """Return {kernel: Bound}."""
    bounds = {}
    for line in (HERE / "bounds.tsv").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, *numbers = line.split("\t")
            bounds[name] = Bound(*map(int, numbers))
    return bounds


def newest(folder, *patterns):
    """Return the newest file of those that match one of the patterns."""
    return max((path for pattern in patterns for path in folder.glob(pattern)),
               key=lambda path: path.stat().st_mtime)


def read_kernels(folder, architecture):
    """Return {name: (Kernel, Source)} of all that was compiled.

    nvcc puts the architecture into names where there are several.
    """
    kernels = {}
    target = f"compute_{architecture}"
    for stem in {path.name.split(".")[0] for path in folder.glob("*.ptx")}:
        sources = compiled.read_ptx(
            newest(folder, f"{stem}.{target}.ptx", f"{stem}.ptx"))
        cubin = newest(folder, f"{stem}.{target}*.cubin", f"{stem}.cubin",
                       f"{stem}.sm_{architecture}.cubin")
        for name, kernel in compiled.read_cubin(cubin).items():
            kernels[name] = kernel, sources[name]
    return kernels


def faults(name, kernel, source, bound):
    """Yield what is wrong with a kernel."""
    wide = {access: number for (access, bits), number
            in kernel.accesses.items() if bits == 128}
    local = sum(number for (access, _), number in kernel.accesses.items()
                if access in ("LDL", "STL"))
    if kernel.stack or local:
        yield f"{name} has {kernel.stack} bytes of local memory, {local} uses"
    if kernel.registers > bound.registers:
        yield f"{name} takes {kernel.registers} registers"
    if kernel.shared > bound.shared:
        yield f"{name} takes {kernel.shared} bytes of shared memory"
    if wide.get("LDG", 0) < bound.loads or source.loads < bound.loads:
        yield f"{name} has {wide.get('LDG', 0)} loads of 16 bytes"
    if wide.get("STG", 0) < bound.stores or source.stores < bound.stores:
        yield f"{name} has {wide.get('STG', 0)} stores of 16 bytes"
    if source.divisions > bound.divisions:
        yield f"{name} divides {source.divisions} times"
    if source.in_loops > bound.in_loops:
        yield f"{name} divides in an inner loop"


def check_architecture(folder, architecture, bounds):
    """Fail unless all kernels are within their bounds."""
    kernels = read_kernels(folder, architecture)
    for name, (kernel, source) in sorted(kernels.items()):
        wide = " ".join(f"{access}.{bits}:{number}" for (access, bits), number
                        in sorted(kernel.accesses.items()))
        print(f"# sm_{architecture} {name}: {kernel.registers} registers, "
              f"{kernel.stack} local, {kernel.shared} shared, "
              f"{source.divisions} divisions, {wide}")
    assert kernels.keys() == bounds.keys(), (
        "not in both: " + " ".join(kernels.keys() ^ bounds.keys()))
    wrong = [fault for name, (kernel, source) in kernels.items()
             for fault in faults(name, kernel, source, bounds[name])]
    assert not wrong, "; ".join(wrong)


def check_planted(nvcc, architecture):
    """Fail unless each planted fault is found, and nothing else."""
    bound = Bound(40, 0, 1, 1, 1, 0)
    narrow = bound._replace(loads=0, stores=0)
    expected = {"planted_good": (bound, ""),
                "planted_scalar": (bound, "loads of 16 bytes"),
                "planted_spill": (narrow, "local memory"),
                "planted_division": (narrow, "divides in an inner loop"),
                "planted_quotient": (narrow, "divides in an inner loop")}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [nvcc, "-std=c++17", "-O3", "-keep", "-keep-dir", folder,
             "-gencode", f"arch=compute_{architecture},"
             f"code=sm_{architecture}", "-c", HERE / "planted.cu",
             "-o", folder + "/planted.o"], check=True)
        kernels = read_kernels(pathlib.Path(folder), architecture)
    assert kernels.keys() == expected.keys()
    for name, (bounds, fault) in expected.items():
        found = "; ".join(faults(name, *kernels[name], bounds))
        print(f"# sm_{architecture} {name}: {found or 'nothing'}")
        assert fault in found and bool(fault) == bool(found), name


def measured(folder, architectures):
    """Print bounds as the kernels are now."""
    numbers = collections.defaultdict(list)
    for architecture in architectures:
        for name, (kernel, source) in read_kernels(
                folder, architecture).items():
            numbers[name].append(Bound(
                # as they are handed out
                (kernel.registers + 7) // 8 * 8, kernel.shared,
                min(kernel.accesses["LDG", 128], source.loads),
                min(kernel.accesses["STG", 128], source.stores),
                source.divisions, source.in_loops))
    print(HEAD + "# kernel\t" + "\t".join(COLUMNS))
    for name, bounds in sorted(numbers.items()):
        columns = zip(*bounds)
        print("\t".join([name] + [
            str((min if title in ("loads", "stores") else max)(values))
            for title, values in zip(COLUMNS, columns)]))


def main():
    """Run the test, or print the table."""
    arguments = sys.argv[1:]
    print_bounds = arguments[0] == "--bounds"
    folder, *architectures = arguments[print_bounds:]
    folder = pathlib.Path(folder)
    if print_bounds:
        measured(folder, architectures)
        return 0
    bounds = read_bounds()
    tests = []

    def add(name, function, *values):
        def test():
            function(*values)
        test.__name__ = "test_" + name
        tests.append(test)

    for architecture in architectures:
        add(f"sm_{architecture}", check_architecture, folder, architecture,
            bounds)
    for architecture in (architectures[0], architectures[-1]):
        add(f"planted_sm_{architecture}", check_planted, os.environ["NVCC"],
            architecture)
    return tap.run(tests)


if __name__ == "__main__":
    sys.exit(main())
