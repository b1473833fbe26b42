"""Files of a Hugging-Face-style checkpoint directory: safetensors, config.json, trainer_state.json.

The safetensors format: 8 bytes little-endian length of the header, a JSON header that gives each tensor
its dtype, shape and byte range, then the bytes.
"""

import json
import os
import struct

import numpy

_DTYPES = {"F32": numpy.float32, "I64": numpy.int64}
_NAMES = {numpy.dtype(dtype): name for name, dtype in _DTYPES.items()}


def write_safetensors(path, tensors, metadata):
    """Writes {name: array} as the library does: to a temporary name, then renamed."""
    header, offset = {"__metadata__": {key: str(value) for key, value in metadata.items()}}, 0
    for name, array in tensors.items():
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape),
                        "data_offsets": [offset, offset + array.nbytes]}
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    temporary = path + ".tmp"
    with open(temporary, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in tensors.values():
            file.write(numpy.ascontiguousarray(array).tobytes())
    os.rename(temporary, path)


def read_safetensors(path):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = numpy.frombuffer(data[begin:end], dtype=_DTYPES[entry["dtype"]])
        tensors[name] = array.reshape(entry["shape"]).copy()
    return tensors


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
