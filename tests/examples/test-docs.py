#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compare the documentation with what it is about, in TAP."""

import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import tap  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LARGEST_IMAGE = 150_000
# An error or a warning, and from its first string on all that follow it
POSTED = re.compile(
    r'\b(?:GST_ELEMENT_(?:ERROR|WARNING)|g_set_error(?:_literal)?|fail) \('
    r'[^";]*("(?:[^"\\]|\\.)*"(?:\s*(?:[A-Z0-9_]+\s*)?"(?:[^"\\]|\\.)*")*)')
PRINTF = re.compile(r"%[-0-9.*]*(?:l?[a-z])")


def posted_messages():
    """Return the formats of all errors and warnings, and where they are."""
    messages = {}
    for folder in "gst", "refine", "cuda":
        for path in (ROOT / folder).rglob("*.c"):
            for literals in POSTED.findall(path.read_text(encoding="utf-8")):
                # a macro between or after strings stands for a value
                text = re.sub(r'%?"\s*[A-Z0-9_]+\s*"', "%s", literals)
                text = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))
                text = re.sub(r"%$", "%s", text)
                if re.sub(r"%s|:? ", "", text):
                    messages[text] = path.relative_to(ROOT)
    return messages


def documented_messages():
    """Return the messages that docs/troubleshooting.md lists."""
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^(?:### |- )`([^`]+)`$", text, re.MULTILINE)


def to_pattern(message):
    """Return what a message looks like; a file's name may precede it."""
    parts = map(re.escape, PRINTF.split(message))
    return re.compile("(?:FILE: )?" + ".+?".join(parts), re.DOTALL)


def test_every_message_is_documented():
    """What the plugin can say is in docs/troubleshooting.md."""
    documented = documented_messages()
    messages = posted_messages()
    assert len(messages) > 40, len(messages)  # the pattern still finds them
    missing = [f"{path}: {text}" for text, path in messages.items()
               if not any(to_pattern(text).fullmatch(line)
                          for line in documented)]
    assert not missing, missing


def test_every_documented_message_exists():
    """What docs/troubleshooting.md lists can be said."""
    patterns = [to_pattern(text) for text in posted_messages()]
    unknown = [line for line in documented_messages()
               if not any(p.fullmatch(line) for p in patterns)]
    assert not unknown, unknown


def check_made(page, maker):
    """Fail unless a page is what its maker prints."""
    made = subprocess.run([ROOT / maker], check=True, capture_output=True,
                          text=True).stdout
    there = (ROOT / page).read_text(encoding="utf-8")
    for number, (line, other) in enumerate(
            zip(there.splitlines(), made.splitlines()), 1):
        assert line == other, (f"{page}:{number} is {line!r}, should be "
                               f"{other!r}: run {maker} >{page}")
    assert there == made, f"{page} has another end"


def test_properties():
    """docs/properties.md is what docs/make-properties prints."""
    check_made("docs/properties.md", "docs/make-properties")


def test_gpu_performance():
    """docs/gpu-performance.md is what docs/make-gpu-performance prints."""
    check_made("docs/gpu-performance.md", "docs/make-gpu-performance")


def anchors(path):
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"),
                          re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in headings}


def test_links():
    """Files and headings that pages link to are there."""
    broken = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"https?:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.exists() or (
                    anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {link}")
    assert not broken, broken


def test_images():
    """Pictures are small, shown, and made by docs/make-pictures."""
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    maker = (ROOT / "docs/make-pictures").read_text(encoding="utf-8")
    images = list((ROOT / "docs/images").iterdir())
    assert images
    for image in images:
        assert image.stat().st_size < LARGEST_IMAGE, image.name
        assert f"images/{image.name})" in text, f"nobody shows {image.name}"
        assert f'sheet("{image.stem}"' in maker, f"who made {image.name}?"


if __name__ == "__main__":
    sys.exit(tap.run([value for name, value in globals().items()
                      if name.startswith("test_")]))
