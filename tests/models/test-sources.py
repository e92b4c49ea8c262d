#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/sources.tsv, the list of what may train the weights, in TAP."""

import hashlib
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
import tap  # noqa: E402

LIST = os.path.join(HERE, "..", "..", "models", "sources.tsv")

COLUMNS = ["package", "path", "roles", "licence", "sha256", "attribution"]
ROLES = {"photo", "drawing", "texture", "cutout", "shape", "font"}
# Names as in https://spdx.org/licenses, where SPDX has one.
LICENCES = {
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "Bitstream-Vera",
    "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-2.0", "CC-BY-SA-3.0",
    "CC-BY-SA-4.0", "CC0-1.0", "FAL-1.3", "GPL-2.0-only",
    "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later",
    "LGPL-2.1-or-later", "MIT", "Zlib", "public-domain"}
# Every so many files of those at hand are hashed.
SAMPLE = 8


def empty(name, wrong):
    """Return a check that nothing is WRONG, and say what is."""
    for item in wrong[:10]:
        print(f"# {item}")
    return name, not wrong


def twice(rows, column):
    """Return the values that stand more than once in a column."""
    values = [row[column] for row in rows]
    return sorted({value for value in values if values.count(value) > 1})


def checks():
    """Yield (name, whether it passed)."""
    with open(LIST, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    header, *rows = [line.split("\t") for line in lines
                     if not line.startswith("#")]
    yield "the header names the columns", header == COLUMNS
    yield "there are files", rows
    ragged = [row for row in rows if len(row) != len(COLUMNS) or "" in row]
    yield empty("every line fills every column", ragged)
    if ragged:
        return
    rows = [dict(zip(COLUMNS, row)) for row in rows]

    def roles(row):
        return row["roles"].split(",")

    yield empty("roles are known, and each once",
                [row for row in rows if not set(roles(row)) <= ROLES
                 or len(set(roles(row))) != len(roles(row))])
    yield empty("a file is opaque or it has an outline",
                [row for row in rows
                 if {"photo", "drawing", "texture"} & set(roles(row))
                 and {"cutout", "shape", "font"} & set(roles(row))])
    yield empty("terms are on the list of free ones",
                [row for row in rows if row["licence"] not in LICENCES])
    yield empty("digests are sixteen hexadecimal digits",
                [row for row in rows if len(row["sha256"]) != 16
                 or not set(row["sha256"]) <= set("0123456789abcdef")])
    yield empty("no file stands there twice", twice(rows, "path"))
    yield empty("no picture stands there twice", twice(rows, "sha256"))
    yield empty("paths are absolute, but for the folder of TRELLIS",
                [row for row in rows
                 if os.path.isabs(row["path"]) == (row["package"] == "trellis")
                 or ".." in row["path"].split("/")])
    yield empty("nothing of a folder that validates",
                [row for row in rows if "validate" in row["path"].split("/")])
    yield files_at_hand(rows)


def files_at_hand(rows):
    """Return the check that files are those of the list."""
    name, present = "files are those of the list", []
    # Other releases have other files under the same names.
    if platform.freedesktop_os_release().get("VERSION_CODENAME") == "bookworm":
        present = [row for row in rows if os.path.isabs(row["path"])
                   and os.path.exists(row["path"])][::SAMPLE]
    if not present:
        return f"{name} # SKIP none of Debian 12's packages is here", True
    changed = []
    for row in present:
        with open(row["path"], "rb") as file:
            digest = hashlib.sha256(file.read()).hexdigest()
        if digest[:16] != row["sha256"]:
            changed.append(row)
    return empty(f"{name}, {len(present)} of them", changed)


if __name__ == "__main__":
    sys.exit(tap.report(checks()))
