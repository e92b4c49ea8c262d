# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read a PyTorch checkpoint (`.pth`) without trusting it.

A checkpoint is a pickle, and unpickling runs whatever the pickle names.
`torch.load(weights_only=True)` stops that; but in PyTorch 1.13 it passes
TorchScript and tar archives on to their own loaders, and where the pickle
states a size that is too large it reads past the end of the data. Here the
pickle can name nothing but the few things that a plain state dict needs, each
stands for something inert, and every size must agree with the file.

Two layouts exist: a zip archive, uncompressed, of `*/data.pkl` and one member
for each storage (PyTorch 1.6 and later), and a sequence of pickles with the
storages behind it.
"""

import collections
import math
import pickle
import re
import struct
import zipfile

import torch

MAGIC = 0x1950A86A20F9469CFC6C  # of the older layout
PROTOCOL = 1001
PREFIX = "module."  # of every name in the published checkpoint

STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32,
    "HalfStorage": torch.float16, "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8,
    "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}

Storage = collections.namedtuple("Storage", "dtype key numel")
View = collections.namedtuple("View", "key offset size stride")


class Refused(ValueError):
    """The pickle names something that no state dict needs."""


def rebuild_tensor(storage, offset, size, stride, *_):
    """Stand in for PyTorch's function: note what it would do."""
    return View(storage.key, offset, size, stride)


def rebuild_parameter(view, *_):
    """A parameter is its tensor."""
    return view


GLOBALS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    **{("torch", name): dtype for name, dtype in STORAGES.items()},
}


class Unpickler(pickle._Unpickler):  # pylint: disable=protected-access
    """Builds dicts, lists, numbers, strings and views; imports nothing.

    On the one in Python: ten bytes make the one in C allocate 32 GiB.
    """

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        try:
            return GLOBALS[module, name]
        except KeyError:
            raise Refused(f"refused, nothing was run: its pickle names "
                          f"{module}.{name}, which no state dict needs"
                          ) from None

    def persistent_load(self, pid):
        kind, dtype, key, _location, numel, *view = pid
        if kind != "storage" or dtype not in STORAGES.values() or any(view):
            raise ValueError(f"a {kind} that is not a plain storage")
        storage = Storage(dtype, key, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError(f"two storages {key}")
        return storage


def unpickle(file):
    """Return the next object of a file, and the storages it uses by key."""
    unpickler = Unpickler(file)
    try:
        return unpickler.load(), unpickler.storages
    except Refused:
        raise
    except Exception as error:  # a pickle can provoke about any
        raise ValueError("not a PyTorch checkpoint, or a damaged one "
                         f"({type(error).__name__}: {error})") from None


def flat_tensor(storage, data):
    """Return a storage, whose bytes are `data`, as a tensor."""
    flat = torch.empty(0, dtype=storage.dtype)
    size = storage.numel * flat.element_size()
    if len(data) != size:
        raise ValueError(f"forged or cut off: storage {storage.key} has "
                         f"{len(data)} bytes, not the {size} stated")
    if data:
        flat = torch.frombuffer(bytearray(data), dtype=storage.dtype)
    return flat


def read_zip(file):
    """Return the object and {key: flat tensor}."""
    archive = zipfile.ZipFile(file)
    names = archive.namelist()
    roots = [name[:-len("data.pkl")] for name in names
             if re.fullmatch(r"[^/]+/data\.pkl", name)]
    if len(roots) != 1:
        raise ValueError("a zip archive, but not a PyTorch checkpoint")
    root, = roots
    if root + "constants.pkl" in names:
        raise ValueError("refused, nothing was run: a TorchScript program, "
                         "not a checkpoint")
    # what is compressed may be a thousand times larger than the file
    if any(member.compress_type for member in archive.infolist()):
        raise ValueError("a compressed archive, not a PyTorch checkpoint")
    if (root + "byteorder" in names
            and archive.read(root + "byteorder") != b"little"):
        raise ValueError("a big-endian checkpoint")
    with archive.open(root + "data.pkl") as pickled:
        content, storages = unpickle(pickled)
    return content, {
        key: flat_tensor(storage, archive.read(f"{root}data/{key}"))
        for key, storage in storages.items()}


def read_sequence(file):
    """Return the object and {key: flat tensor}."""
    if unpickle(file)[0] != MAGIC or unpickle(file)[0] != PROTOCOL:
        raise ValueError("not a PyTorch checkpoint")
    if not unpickle(file)[0]["little_endian"]:
        raise ValueError("a big-endian checkpoint")
    content, storages = unpickle(file)
    flats = {}
    for key in unpickle(file)[0]:
        storage = storages[key]
        numel, = struct.unpack("<q", file.read(8))
        if numel != storage.numel:
            raise ValueError(f"forged: storage {key} has {numel} values, not "
                             f"the {storage.numel} stated")
        size = numel * torch.empty(0, dtype=storage.dtype).element_size()
        flats[key] = flat_tensor(storage, file.read(size))
    return content, flats


def tensor_of(name, view, flats):
    """Return a tensor of the state dict."""
    if not isinstance(name, str) or not isinstance(view, View):
        raise ValueError(f"not a state dict: {name!r} is no tensor")
    flat = flats[view.key]
    if math.prod(view.size) > len(flat):  # overlapping itself
        raise ValueError(f"tensor {name} is larger than its storage")
    return flat.as_strided(view.size, view.stride, view.offset)


def read(path):
    """Return {name: tensor} of a checkpoint, names without `module.`.

    Raises OSError or, about what the file holds, ValueError.
    """
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\3\4"
        file.seek(0)
        try:
            content, flats = read_zip(file) if is_zip else read_sequence(file)
            if not isinstance(content, dict):
                raise ValueError("not a state dict: it holds a "
                                 + type(content).__name__)
            tensors = {}
            for name, view in content.items():
                tensor = tensor_of(name, view, flats)
                if name.startswith(PREFIX):
                    name = name[len(PREFIX):]
                if name in tensors:
                    raise ValueError(f"tensor {name} is there twice")
                tensors[name] = tensor
            return tensors
        except (OSError, ValueError):
            raise
        except Exception as error:  # of the many ways to be damaged
            raise ValueError("not a PyTorch checkpoint, or a damaged one "
                             f"({type(error).__name__}: {error})") from None
