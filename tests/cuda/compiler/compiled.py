# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read what nvcc made of kernels: cubins (ELF) and PTX.

Nothing of CUDA's toolkit is needed. The layout of instructions is not
documented; of it, only what is asserted is read, and test-compiler.py compares
it with the PTX.
"""

import collections
import re
import struct

# Attributes of a kernel in .nv.info: what follows is its symbol and a number
FRAME_SIZE, REGISTERS = 0x11, 0x2f
# Lowest 12 bits of an instruction's 16 bytes, on all of our architectures
OPCODES = {0x381: "LDG", 0x981: "LDG", 0x386: "STG", 0x986: "STG",
           0x984: "LDS", 0x388: "STS", 0x988: "STS",
           0x983: "LDL", 0x387: "STL", 0x987: "STL"}
SIZES = (8, 8, 16, 16, 32, 64, 128)  # bits, by the instruction's bits 73-75

# stack: bytes of local memory of a thread; accesses: {("LDG", bits): number}
Kernel = collections.namedtuple("Kernel", "registers stack shared accesses")
# Numbers of instructions in PTX: accesses of 16 bytes, slow divisions, and
# those of them in inner loops
Source = collections.namedtuple("Source", "loads stores divisions in_loops")

ENTRY = re.compile(r"\.entry (\w+)\(.*?\n\{(.*?)\n\}", re.DOTALL)
# Those that take many instructions: of 64 bits, of floats
DIVISION = re.compile(r"\b(?:(?:div|rem)\.[us]64|div\.\S*f\d+|"
                      r"rcp\.rn\.f\d+)")
LABEL = re.compile(r"^(\$\w+):")
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$\w+);")


def sections(data):
    """Return {name: (header, content)} of an ELF file."""
    start, = struct.unpack_from("<Q", data, 40)
    size, number, names_at = struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + i * size)
               for i in range(number)]
    names = headers[names_at][4]
    result = {}
    for header in headers:
        at = names + header[0]
        name = data[at:data.index(b"\0", at)].decode()
        content = data[header[4]:header[4] + header[5]]
        result[name] = header, b"" if header[1] == 8 else content
    return result


def symbols(elf):
    """Return the names of the symbols in their order."""
    names = elf[".strtab"][1]
    table = elf[".symtab"][1]
    starts = (struct.unpack_from("<I", table, at)[0]
              for at in range(0, len(table), 24))
    return [names[at:names.index(b"\0", at)].decode() for at in starts]


def attributes(elf):
    """Return {(attribute, kernel): number}."""
    info = elf[".nv.info"][1]
    names = symbols(elf)
    result = {}
    at = 0
    while at < len(info):
        form, attribute, size = struct.unpack_from("<BBH", info, at)
        at += 4
        if form == 4:  # the size is that of what follows
            if size == 8:
                symbol, number = struct.unpack_from("<II", info, at)
                result[attribute, names[symbol]] = number
            at += size
    return result


def count_accesses(code):
    """Return a Counter of (instruction, bits)."""
    accesses = collections.Counter()
    for at in range(0, len(code) - 15, 16):
        low, high = struct.unpack_from("<QQ", code, at)
        name = OPCODES.get(low & 0xfff)
        size = high >> 9 & 7
        if name and size < len(SIZES):
            accesses[name, SIZES[size]] += 1
    return accesses


def read_cubin(path):
    """Return {name: Kernel} of a cubin."""
    elf = sections(path.read_bytes())
    found = attributes(elf)
    kernels = {}
    for section, (_, code) in elf.items():
        name = section.removeprefix(".text.")
        if name == section:
            continue
        shared = elf.get(".nv.shared." + name)
        # from sm_90 on with what the system reserves for itself
        reserved = 1024 if ".nv.shared.reserved.0" in elf else 0
        kernels[name] = Kernel(
            found[REGISTERS, name], found[FRAME_SIZE, name],
            shared[0][5] - reserved if shared else 0, count_accesses(code))
    return kernels


def inner_loops(lines):
    """Return the lines of loops that have no other loop inside.

    A loop is what lies between a label and a branch back to it.
    """
    starts = {}
    found = []
    for number, line in enumerate(lines):
        label, branch = LABEL.match(line), BRANCH.search(line)
        if label:
            starts[label[1]] = number
        if branch and branch[1] in starts:
            found.append((starts[branch[1]], number))
    inner = [loop for loop in found
             if not any(loop[0] <= other[0] and other[1] <= loop[1]
                        for other in found if other != loop)]
    return [line for start, end in inner for line in lines[start:end]]


def read_ptx(path):
    """Return {name: Source} of a PTX file."""
    result = {}
    for name, body in ENTRY.findall(path.read_text(encoding="utf-8")):
        lines = [line.strip() for line in body.splitlines()]
        wide = [line for line in lines
                if re.search(r"\.v4\.[bufs]32\b|\.v2\.[bufs]64\b", line)]
        result[name] = Source(
            sum("ld.global" in line for line in wide),
            sum("st.global" in line for line in wide),
            sum(bool(DIVISION.search(line)) for line in lines),
            sum(bool(DIVISION.search(line)) for line in inner_loops(lines)))
    return result
