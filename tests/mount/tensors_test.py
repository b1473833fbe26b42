"""Model files whose tensors are known: cut at tensors, floats coded, the same bytes for ever."""

import json
import os
import struct
import unittest

import numpy

import checkpoint_writers as writers
import harness
from harness import MountTestCase, write_file


def safetensors(tensors, metadata=None):
    """A file as https://github.com/huggingface/safetensors, "Format", has it."""
    names = {numpy.dtype("float32"): "F32", numpy.dtype("float16"): "F16",
             numpy.dtype("int64"): "I64"}
    header, data = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, array in tensors.items():
        begin = len(data)
        data += array.tobytes()
        header[name] = {"dtype": names[array.dtype], "shape": list(array.shape),
                        "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


@unittest.skipIf(harness.NATIVE, "a plain directory has no store")
class Tensors(MountTestCase):
    def setUp(self):
        super().setUp()
        random = numpy.random.default_rng(harness.seed())
        self.weights = random.normal(0, 0.02, (1024, 1024)).astype(numpy.float32)
        self.more = random.normal(0, 0.02, (700, 1000)).astype(numpy.float32)

    def counters(self):
        self.mount.sync()
        return self.mount.status()["counters"]

    def test_weights_are_smaller_and_come_back_as_they_were(self):
        special = numpy.array([0x7fc00001, 0xffc12345, 1, 0x80000000, 0x7f800000, 0xff800000],
                              numpy.uint32).view(numpy.float32)
        self.weights.flat[1000:1006] = special  # NaNs with payloads, denormals, -0, infinities
        data = safetensors({"a": self.weights, "b": self.more, "step": numpy.arange(7)})
        mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        write_file(mount.root + "/model.safetensors", data)
        mount.sync()
        counters = mount.status()["counters"]
        self.assertLess(counters["stored_bytes"] * 1.15, len(data))
        mount.kill_and_remount()
        self.assertBytes(mount.root + "/model.safetensors", data)
        with open(mount.root + "/model.safetensors", "rb") as file:
            for offset, size in ((0, 8), (5000, 300_000), (len(data) - 77, 77), (524_000, 2000)):
                file.seek(offset)
                self.assertEqual(file.read(size), data[offset:offset + size])
        mount.stop()
        code, text = mount.command("fsck", "--verify-data", mount.store)
        self.assertEqual(code, 0, text)

    def test_a_tensor_is_stored_once_in_whatever_file_it_is(self):
        write_file(self.path("model.safetensors"),
                   safetensors({"a": self.weights, "b": self.more}))
        before = self.counters()
        # Other headers, another order, another format: other places of the same bytes.
        write_file(self.path("other.safetensors"),
                   safetensors({"x": self.more, "y": self.weights}, {"note": "n" * 777}))
        numpy.save(self.path("b.npy"), self.more)
        numpy.save(self.path("a.npy"), self.weights)
        numpy.savez(self.path("both.npz"), a=self.weights, b=self.more)
        write_file(self.path("model.pt"), writers.torch_zip_bytes(
            {"model": {"a": self.weights, "b": self.more}, "epoch": 7}))
        # torch.distributed.checkpoint saves each tensor by itself, one behind the other.
        write_file(self.path("__0_0.distcp"), b"".join(
            writers.torch_zip_bytes(array) for array in (self.weights, self.more)))
        after = self.counters()
        self.assertGreater(after["shared_bytes"] - before["shared_bytes"],
                           5 * (self.weights.nbytes + self.more.nbytes) - 1)
        self.assertLess(after["stored_bytes"] - before["stored_bytes"], 8192)
        self.assertTrue((numpy.load(self.path("a.npy"), mmap_mode="r") == self.weights).all())
        with numpy.load(self.path("both.npz")) as both:
            self.assertTrue((both["b"] == self.more).all())

    def test_what_only_looks_like_a_model_is_a_plain_file(self):
        whole = safetensors({"a": self.weights})
        files = {"cut.safetensors": whole[:-100],
                 "claims.safetensors": struct.pack("<Q", 99_999_999) + b'{"a":' + os.urandom(200_000),
                 "overlaps.safetensors": whole.replace(b'"data_offsets": [0,', b'"data_offsets": [9,'),
                 "huge.npy": b"\x93NUMPY\x01\x00\x76\x00" + (b"{'descr': '<f4', 'fortran_order': "
                             b"False, 'shape': (1152921504606846976, 9), }").ljust(117) + b"\n"
                             + os.urandom(100_000)}
        for name, data in files.items():
            write_file(self.path(name), data)
        self.mount.sync()
        for name, data in files.items():
            self.assertBytes(self.path(name), data)

    def test_changed_in_the_middle(self):
        mount = self.own_mount(options=[*harness.default_options(), "hot=1"])
        path = mount.root + "/model.safetensors"
        data = bytearray(safetensors({"a": self.weights, "b": self.more}))
        write_file(path, data)
        mount.sync()
        mount.kill_and_remount()
        for offset in (3, 700_001, len(data) - 9):
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(b"changed!")
            data[offset:offset + 8] = b"changed!"
            mount.sync()
            self.assertBytes(path, bytes(data))
        mount.kill_and_remount()
        self.assertBytes(path, bytes(data))


if __name__ == "__main__":
    harness.main()
