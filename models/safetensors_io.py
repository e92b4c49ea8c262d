# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read and write safetensors files with nothing but PyTorch.

A file is an 8-byte little-endian length, a JSON header of that length
(name -> dtype, shape, byte range; `__metadata__` -> strings) and the
tensors' raw little-endian data.
"""

import json
import os

import torch

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16,
    "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
    "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
}
NAMES = {dtype: name for name, dtype in TYPES.items()}


def read(path):
    """Return ({name: tensor}, {metadata key: string}) of a file."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        aligned = data[begin:end].clone()
        tensors[name] = aligned.view(TYPES[entry["dtype"]]).reshape(
            entry["shape"])
    return tensors, metadata


def write(path, tensors, metadata=None):
    """Write {name: tensor}, in that order, and string metadata to a file.

    The file appears under its name when it is complete.
    """
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name, tensor in tensors.items():
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "xb") as file:
        try:
            file.write(len(text).to_bytes(8, "little"))
            file.write(text)
            for tensor in tensors.values():
                flat = tensor.detach().cpu().contiguous().reshape(-1)
                file.write(flat.view(torch.uint8).numpy())
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
