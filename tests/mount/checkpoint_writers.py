"""Saves checkpoints with the same system calls as the frameworks, without the frameworks."""

import collections
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy

MIB = 1 << 20


def safetensors_bytes(tensors, metadata=None):
    """The file for {name: array}, from the format's published description."""
    kinds = {"float32": "F32", "float16": "F16", "float64": "F64", "int64": "I64", "uint8": "U8"}
    header, at, blobs = {}, 0, []
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        blob = numpy.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kinds[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)


def _torch_names():
    """Classes and functions of torch's names, so that pickles without torch name them."""
    names, owners = {}, {}
    for module, name in (("torch", "FloatStorage"), ("torch", "LongStorage"),
                         ("torch", "HalfStorage"), ("torch._utils", "_rebuild_tensor_v2")):
        owner = owners.setdefault(module, types.ModuleType(module))
        made = type(name, (), {"__module__": module})
        setattr(owner, name, made)
        names[name] = (module, owner, made)
    return names


class _TorchPickler(pickle.Pickler):
    """Pickles arrays as torch.save does tensors: a call and a persistent id of the storage."""

    def __init__(self, file, names):
        super().__init__(file, protocol=2)
        self.names = names
        self.storages = []

    def persistent_id(self, value):
        return value.id if isinstance(value, _Storage) else None

    def reducer_override(self, value):
        if not isinstance(value, numpy.ndarray):
            return NotImplemented
        kind = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}
        self.storages.append(value)
        strides = tuple(stride // value.itemsize for stride in value.strides)
        storage = _Storage(("storage", self.names[kind[value.dtype.name]][2],
                            str(len(self.storages) - 1), "cpu", value.size))
        return (self.names["_rebuild_tensor_v2"][2],
                (storage, 0, value.shape, strides, False, collections.OrderedDict()))


class _Storage:
    def __init__(self, persistent):
        self.id = persistent


def torch_pickle(value):
    """The data.pkl of torch.save, and the arrays of its storages in their order."""
    names, out = _torch_names(), io.BytesIO()
    kept = {module: sys.modules.get(module) for module, _, _ in names.values()}
    sys.modules.update({module: owner for module, owner, _ in names.values()})
    try:
        pickler = _TorchPickler(out, names)
        pickler.dump(value)
    finally:
        for module, owner in kept.items():
            if owner is None:
                del sys.modules[module]
            else:
                sys.modules[module] = owner
    return out.getvalue(), pickler.storages


def torch_zip_bytes(tensors, name="archive"):
    """A zip with stored entries whose data are 64-byte aligned, as torch.save makes it."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        pickled, storages = torch_pickle(tensors)
        entries = [("data.pkl", pickled), ("byteorder", b"little")]
        entries += [(f"data/{i}", array.tobytes()) for i, array in enumerate(storages)]
        for entry, data in entries:
            info = zipfile.ZipInfo(f"{name}/{entry}")
            used = out.tell() + 30 + len(info.filename)
            padding = -(used + 4) % 64
            info.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
            archive.writestr(info, data)
        archive.writestr(zipfile.ZipInfo(f"{name}/version"), b"3\n")
    return out.getvalue()


def tensors_of(step, megabytes=1):
    """A small state dict that differs from step to step."""
    generator = numpy.random.default_rng(step)
    count = int(megabytes * MIB / 4 / 4)
    return {f"layer.{i}.weight": generator.standard_normal(count, dtype=numpy.float32)
            for i in range(4)}


def write_in_parts(fd, data, part=MIB):
    for at in range(0, len(data), part):
        view = memoryview(data)[at:at + part]
        while view:
            view = view[os.write(fd, view):]


def save_torch(path, data):
    """torch.save: truncates in place, writes in sequence, no fsync."""
    with open(path, "wb") as file:
        for at in range(0, len(data), 100003):
            file.write(data[at:at + 100003])


def save_safetensors_in_place(path, data):
    """safetensors until 0.7: truncates in place, full size at once, 1 MiB writes."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.ftruncate(fd, len(data))
        write_in_parts(fd, data)
    finally:
        os.close(fd)


def save_safetensors_by_rename(path, data):
    """safetensors from 0.8: exclusive temporary file, chmod, rename."""
    temporary = os.path.join(os.path.dirname(path), f".tmp{os.getpid()}x")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(fd, len(data))
        write_in_parts(fd, data)
    finally:
        os.close(fd)
    os.chmod(temporary, 0o644)
    os.rename(temporary, path)


def save_distributed(directory, data, ranks=2):
    """torch DCP: one file per rank with fsync, then unlink and rename of .metadata."""
    os.makedirs(directory, exist_ok=True)
    share = len(data) // ranks + 1
    for rank in range(ranks):
        with open(os.path.join(directory, f"__{rank}_0.distcp"), "wb") as file:
            file.write(data[rank * share:(rank + 1) * share])
            file.flush()
            os.fsync(file.fileno())
    metadata = os.path.join(directory, ".metadata")
    with open(metadata + ".tmp", "wb") as file:
        file.write(b"metadata of " + data[:32])
        file.flush()
        os.fsync(file.fileno())
    if os.path.exists(metadata):
        os.unlink(metadata)
    os.rename(metadata + ".tmp", metadata)


def save_hugging_face(directory, data, step):
    """A Trainer's checkpoint-N directory; trainer_state.json comes last."""
    os.makedirs(directory)
    save_safetensors_by_rename(os.path.join(directory, "model.safetensors"), data)
    for name, content in (("config.json", {"architectures": ["GPT"]}),
                          ("trainer_state.json", {"global_step": step})):
        with open(os.path.join(directory, name), "w", encoding="utf-8") as file:
            json.dump(content, file)
