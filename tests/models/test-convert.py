#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Test models/convert, in TAP.

The arguments are the golden folder and, to see whether the engine loads
what comes out, the program print-program.
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import itertools
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "models")
sys.path.insert(0, MODELS)
sys.path.insert(0, os.path.join(HERE, ".."))

import tap  # noqa: E402

tap.need("PIL", "numpy", "torch")

import numpy  # noqa: E402
import torch  # noqa: E402

import reference  # noqa: E402
import safetensors_io  # noqa: E402

PROGRAM = os.path.abspath(os.path.join(MODELS, "convert"))
sys.dont_write_bytecode = True
LOADER = importlib.machinery.SourceFileLoader("convert", PROGRAM)
program = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("convert", LOADER))
LOADER.exec_module(program)

ODD_WIDTHS = ("stem=5,planes=3/4/6/7,blocks=1/2/1/2,psp=9,up=8/6/5,"
              "heads=3/4/2")
TYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
TARGET = "out.safetensors"


class Malice:
    """Unpickled by a careless program, it leaves a file behind."""

    def __reduce__(self):
        return os.system, ("touch executed",)


def convert(source, *options, target=TARGET):
    """Run the program; return its exit status and what it complains of.

    In this process: importing PyTorch takes longer than all else.
    """
    with contextlib.redirect_stderr(io.StringIO()) as complaint:
        status = program.main([*options, source, target])
    return status, complaint.getvalue()


def convert_tensors(tensors, *options):
    """Save a checkpoint and convert it."""
    torch.save(tensors, "saved.pth")
    return convert("saved.pth", *options)


def refused(result, words):
    """Whether it failed with one clear line, and left nothing behind."""
    status, complaint = result
    good = (status == 1 and complaint.startswith("convert: ")
            and complaint.count("\n") == 1 and words in complaint
            and not os.path.exists("executed")
            and not any("safetensors" in name for name in os.listdir(".")))
    if not good:
        print(f"# status {status}: {complaint!r}, {os.listdir('.')}")
    return good


def take():
    """Return the tensors that came out, and remove the file."""
    tensors, _ = safetensors_io.read(TARGET)
    os.remove(TARGET)
    return tensors


def weights(tensors):
    """A state dict without what only training needs."""
    return {name: tensor for name, tensor in tensors.items()
            if not name.endswith("num_batches_tracked")}


def equal(one, other):
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype
        and torch.equal(one[name], other[name]) for name in one)


def round_bf16(tensor):
    """Round to nearest, ties to even, by arithmetic on the bits."""
    bits = tensor.numpy().view(numpy.uint32).astype(numpy.uint64)
    bits += 0x7FFF + (bits >> 16 & 1)
    high = (bits >> 16 << 16).astype(numpy.uint32)
    return torch.from_numpy(high.view(numpy.float32))


def loads(print_program):
    """Whether the engine makes a program of what came out."""
    if not print_program:
        return True
    result = subprocess.run([print_program, TARGET, "64x64"], check=False,
                            stdout=subprocess.DEVNULL)
    return result.returncode == 0


def test_types(golden, print_program):
    """Each type, from the layout of the published checkpoint."""
    mini = os.path.join(golden, "mini.pth")
    expected = weights(safetensors_io.read(
        os.path.join(golden, "mini.safetensors"))[0])

    result = subprocess.run([sys.executable, PROGRAM, mini, TARGET],
                            check=False)
    yield "mini.pth converts", result.returncode == 0
    yield "the engine loads it", loads(print_program)
    yield "it has the numbers of mini.safetensors", equal(take(), expected)

    status, _ = convert(mini, "--type", "fp16")
    yield "mini.pth converts to fp16", status == 0
    yield "the engine loads it as fp16", loads(print_program)
    yield "fp16 is as NumPy rounds", equal(take(), {
        name: torch.from_numpy(tensor.numpy().astype(numpy.float16))
        for name, tensor in expected.items()})

    status, _ = convert(mini, "--type", "bf16")
    yield "mini.pth converts to bf16", status == 0
    yield "the engine loads it as bf16", loads(print_program)
    result = take()
    yield "the type's name is BF16", all(
        tensor.dtype == torch.bfloat16 for tensor in result.values())
    yield "bf16 is rounded to nearest", equal(
        {name: tensor.float() for name, tensor in result.items()},
        {name: round_bf16(tensor) for name, tensor in expected.items()})


def test_layouts(print_program):
    """Whatever torch.save makes of a state dict of whatever width."""
    module = reference.random_module(reference.Widths.parse(ODD_WIDTHS))
    state = module.state_dict()  # an OrderedDict with an attribute
    expected = weights(state)
    yield "another width, without prefix", (
        convert_tensors(state) == (0, "") and loads(print_program)
        and equal(take(), expected))
    yield "without counters of batches", (
        convert_tensors(expected) == (0, "") and equal(take(), expected))

    torch.save(state, "old.pth", _use_new_zipfile_serialization=False)
    yield "the layout before PyTorch 1.6", (
        convert("old.pth") == (0, "") and equal(take(), expected))
    parameters = {name: torch.nn.Parameter(tensor)
                  if tensor.is_floating_point() else tensor
                  for name, tensor in state.items()}
    yield "parameters in place of tensors", (
        convert_tensors(parameters) == (0, "") and equal(take(), expected))
    strided = {name: tensor.contiguous(memory_format=torch.channels_last)
               if tensor.dim() == 4 else tensor.double()
               for name, tensor in state.items()
               if not name.endswith("num_batches_tracked")}
    yield "other strides, fp64", (
        convert_tensors(strided) == (0, "") and equal(take(), expected))

    with open(TARGET, "w", encoding="ascii") as file:
        file.write("older")
    yield "an older result is replaced", (
        convert_tensors(state) == (0, "") and equal(take(), expected))


def forge(old, new):
    """saved.pth with some bytes of its pickle replaced, as forged.pth."""
    with zipfile.ZipFile("saved.pth") as source, \
            zipfile.ZipFile("forged.pth", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("/data.pkl"):
                assert data.count(old) == 1
                data = data.replace(old, new)
            target.writestr(name, data)


def test_malice(state):
    """Nothing that a file contains is executed or believed."""
    for name, options in (("zip", {}), ("old layout", {
            "_use_new_zipfile_serialization": False})):
        for what, content in (("alone", Malice()),
                              ("in a state dict", {**state, "x": Malice()})):
            torch.save(content, "malice.pth", **options)
            yield (f"malicious {name}, {what}",
                   refused(convert("malice.pth"), "refused"))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with open("malice.pth", "wb") as file:
            pickle.dump(Malice(), file, protocol)
        yield (f"malicious pickle of protocol {protocol}",
               refused(convert("malice.pth"), "refused"))

    with tarfile.open("malice.pth", "w") as archive:
        data = pickle.dumps(Malice())
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    yield ("tar archive of malicious pickles",
           refused(convert("malice.pth"), "not a PyTorch checkpoint"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(torch.nn.ReLU()).save("program.pth")
    yield "TorchScript", refused(convert("program.pth"), "TorchScript")

    with open("huge.pth", "wb") as file:
        file.write(b"\x80\x02}r\xff\xff\xff\x7f.")
    yield ("pickle with an entry 2147483647 of its memo",
           refused(convert("huge.pth"), "not a PyTorch checkpoint"))

    torch.save({"a": torch.zeros(77)}, "saved.pth")
    forge(b"cpuq\x06K\x4d", b"cpuq\x06J" + struct.pack("<i", 1 << 28))
    yield ("forged size of a storage",
           refused(convert("forged.pth"), "not the 1073741824 stated"))
    forge(b"K\x00K\x4d\x85", b"K\x00K\x4e\x85")
    yield ("forged size of a tensor",
           refused(convert("forged.pth"), "larger than its storage"))
    forge(b"K\x00K\x4d\x85", b"K\x09K\x4d\x85")
    yield ("forged offset of a tensor",
           refused(convert("forged.pth"), "damaged"))


def test_damage(state):
    """What is not a checkpoint, or not all of one."""
    for name, options in (("new", {}), ("old", {
            "_use_new_zipfile_serialization": False})):
        torch.save(state, "saved.pth", **options)
        with open("saved.pth", "rb") as file:
            data = file.read()
        good = True
        for size in (0, 3, 9, 300, len(data) // 2, len(data) - 5):
            with open("cut.pth", "wb") as file:
                file.write(data[:size])
            good = refused(convert("cut.pth"), "cut.pth") and good
        yield f"{name} layout, cut off anywhere", good
    for name, content in (("text", b"hello\n"), ("zeros", bytes(4096))):
        with open("other.pth", "wb") as file:
            file.write(content)
        yield (f"a file of {name}",
               refused(convert("other.pth"), "not a PyTorch checkpoint"))
    with zipfile.ZipFile("other.pth", "w") as archive:
        archive.writestr("readme", "hello")
    yield "another zip", refused(convert("other.pth"), "a zip archive, but")
    yield "a folder", refused(convert("."), "Is a directory")
    yield "no such file", refused(convert("none.pth"), "No such file")
    yield ("a list of tensors",
           refused(convert_tensors([torch.zeros(2)]), "not a state dict"))
    yield ("a state dict among other things",
           refused(convert_tensors({"state": dict(state), "epoch": 3}),
                   "not a state dict"))


def test_tensors(state):
    """Checkpoints of something else, and bad numbers."""

    def having(name, tensor, *options):
        return convert_tensors({**state, name: tensor}, *options)

    for name in ("feats.conv1.weight", "up_1.conv.3.running_var",
                 "feats.layer2.1.bn2.bias", "final_21.bias"):
        rest = {key: tensor for key, tensor in state.items() if key != name}
        yield (f"{name} missing",
               refused(convert_tensors(rest), f"{name} is missing"))
    for name, shape in (("feats.layer4.0.conv2.weight", (7, 7, 5, 5)),
                        ("psp.bottleneck.weight", (9, 140)),
                        ("psp.bottleneck.weight", (0, 140, 1, 1)),
                        ("up_2.conv2.0.bias", (1,)),
                        ("final_11.weight", (1000, 8, 1, 1))):
        yield (f"{name} of shape {list(shape)}",
               refused(having(name, torch.zeros(shape)), "expected shape"))
    yield ("one tensor too many",
           refused(having("extra.weight", torch.zeros(2)),
                   "extra.weight is not part of the network"))
    yield ("a name with and without prefix",
           refused(having("module.final_21.bias", torch.zeros(1)),
                   "final_21.bias is there twice"))
    yield ("integers for weights",
           refused(having("final_21.bias", torch.zeros(1).long()),
                   "no floating-point numbers"))
    for value in (float("nan"), float("inf")):
        yield (f"{value} for a weight",
               refused(having("final_21.bias", torch.tensor([value])),
                       "final_21.bias holds NaN or infinity"))
    variance = state["feats.bn1.running_var"].clone()
    variance[1] = -1
    yield ("a negative variance",
           refused(having("feats.bn1.running_var", variance),
                   "negative variance"))

    large = torch.tensor([65520.0])  # the smallest that rounds to infinity
    yield ("too large for fp16",
           refused(having("final_21.bias", large, "--type", "fp16"),
                   "final_21.bias holds 65520, more than the type's largest"))
    status, _ = having("final_21.bias", large - 1, "--type", "fp16")
    yield ("the largest fp16",
           status == 0 and take()["final_21.bias"].item() == 65504)
    yield ("65520 as bf16",
           having("final_21.bias", large, "--type", "bf16") == (0, "")
           and take()["final_21.bias"].item() == 65536)


def test_targets(state):
    """Places where no file can be written."""
    torch.save(state, "saved.pth")
    os.mkdir("folder")
    yield ("the target is a folder",
           refused(convert("saved.pth", target="folder"), "folder: "))
    yield ("the target's folder is missing",
           refused(convert("saved.pth", target="none/out"),
                   "none/out: No such file"))
    yield ("the target is the source",
           refused(convert("saved.pth", target="./saved.pth"),
                   "the checkpoint itself"))
    yield "the source survives", convert("saved.pth") == (0, "") and take()


def main(golden, print_program=None):
    golden = os.path.abspath(golden)
    if print_program:
        print_program = os.path.abspath(print_program)
    else:
        print("# no print-program: nothing is loaded by the engine")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        state = weights(reference.random_module(
            reference.Widths.parse(ODD_WIDTHS)).state_dict())
        status = tap.report(itertools.chain(
            test_types(golden, print_program), test_layouts(print_program),
            test_malice(state), test_damage(state), test_tensors(state),
            test_targets(state)))
        os.chdir("/")
    return status


if __name__ == "__main__":
    GOLDEN = os.path.join(HERE, "..", "golden")
    sys.exit(main(*sys.argv[1:] or [GOLDEN]))
