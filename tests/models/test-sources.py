#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/sources.tsv, the list of what may train the weights, in TAP."""

import hashlib
import os
import platform
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
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

results = []


def check(name, wrong):
    """Report a test that names what is WRONG."""
    results.append(not wrong)
    print(f"{'not ' if wrong else ''}ok {len(results)} - {name}")
    for item in wrong[:10]:
        print(f"# {item}")


with open(LIST, encoding="utf-8") as file:
    lines = [line.rstrip("\n") for line in file]
table = [line.split("\t") for line in lines if not line.startswith("#")]
header, rows = table[0], table[1:]

check("the header names the columns", [header] if header != COLUMNS else [])
ragged = [row for row in rows if len(row) != len(COLUMNS) or "" in row]
check("every line fills every column", ragged)
if ragged or not rows:
    print("Bail out! no table")
    sys.exit(1)
rows = [dict(zip(COLUMNS, row)) for row in rows]

check("roles are known, and each once",
      [row for row in rows
       if not set(row["roles"].split(",")) <= ROLES
       or len(set(row["roles"].split(","))) != row["roles"].count(",") + 1])
check("a file is opaque or it has an outline",
      [row for row in rows
       if {"photo", "drawing", "texture"} & set(row["roles"].split(","))
       and {"cutout", "shape", "font"} & set(row["roles"].split(","))])
check("terms are on the list of free ones",
      [row for row in rows if row["licence"] not in LICENCES])
check("digests are sixteen hexadecimal digits",
      [row for row in rows if len(row["sha256"]) != 16
       or not set(row["sha256"]) <= set("0123456789abcdef")])


def twice(column):
    """Return the values that stand more than once in COLUMN."""
    values = [row[column] for row in rows]
    return sorted({value for value in values if values.count(value) > 1})


check("no file stands there twice", twice("path"))
check("no picture stands there twice", twice("sha256"))
check("paths are absolute, but for the folder of TRELLIS",
      [row for row in rows
       if os.path.isabs(row["path"]) == (row["package"] == "trellis")
       or ".." in row["path"].split("/")])
check("nothing of a folder that validates",
      [row for row in rows if "validate" in row["path"].split("/")])

# Other releases have other files under the same names.
present = []
if platform.freedesktop_os_release().get("VERSION_CODENAME") == "bookworm":
    present = [row for row in rows if os.path.isabs(row["path"])
               and os.path.exists(row["path"])][::SAMPLE]
changed = []
for row in present:
    with open(row["path"], "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    if digest[:16] != row["sha256"]:
        changed.append(row)
if present:
    check(f"{len(present)} files are those of the list", changed)
else:
    results.append(True)
    print(f"ok {len(results)} - files are those of the list "
          "# SKIP none of Debian 12's packages is installed")

print(f"1..{len(results)}")
sys.exit(0 if all(results) else 1)
