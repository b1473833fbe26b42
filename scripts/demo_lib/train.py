#!/usr/bin/env python3
"""Trains a small character-level network on text found on this machine, and saves as trainers do.

  train.py run DIR [--steps N]      checkpoint-N/ directories of which the last two are kept, and last.pt,
                                    which is overwritten in place
  train.py evaluate FILE            loads a model.safetensors or a last.pt and evaluates it
  train.py save-forever FILE ACKS   overwrites FILE in place again and again until a save fails; appends
                                    "begin N" to ACKS before each save and "done N SHA256" after it
  train.py which                    says which framework there is

--numpy leaves PyTorch aside.
"""

import argparse
import glob
import hashlib
import os
import shutil
import sys
import time

import numpy

from checkpoint_files import read_safetensors, write_json, write_safetensors
from networks import CONTEXT, make_network, torch

TEXT_BYTES_MAX = 2_000_000
BATCH = 16
SAVE_TOTAL_LIMIT = 2
PAD_BYTES = 192 << 20


def find_text():
    """Licences and changelogs that every Debian machine has."""
    text = b""
    for pattern in ("/usr/share/common-licenses/*", "/usr/share/doc/*/copyright", "/usr/share/perl/**/*.pod"):
        for path in sorted(glob.glob(pattern, recursive=True)):
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    text += file.read()
            if len(text) > TEXT_BYTES_MAX:
                return text[:TEXT_BYTES_MAX]
    if len(text) < 50_000:
        sys.exit("there is too little text below /usr/share to train on")
    return text


class Data:
    def __init__(self):
        text = numpy.frombuffer(find_text(), dtype=numpy.uint8)
        self.symbols, codes = numpy.unique(text, return_inverse=True)
        self.codes = codes.astype(numpy.int64)
        self.held_out = len(self.codes) * 9 // 10

    def batch(self, generator, begin, end):
        starts = generator.integers(begin, end - CONTEXT - 1, BATCH)
        rows = self.codes[starts[:, None] + numpy.arange(CONTEXT + 1)]
        return rows[:, :-1].copy(), rows[:, 1:].copy()

    def evaluate(self, network):
        generator = numpy.random.default_rng(7)
        losses = [network.loss(*self.batch(generator, self.held_out, len(self.codes))) for _ in range(4)]
        return float(numpy.mean(losses))


def save_checkpoint(directory, network, step, history):
    """As the Hugging Face Trainer does it: many files, trainer_state.json last, old ones rotated away."""
    path = os.path.join(directory, f"checkpoint-{step}")
    os.makedirs(path, exist_ok=True)
    write_json(f"{path}/config.json", network.config)
    write_safetensors(f"{path}/model.safetensors", network.tensors(), {"format": "pt", "step": step})
    network.save_optimizer(f"{path}/optimizer.{network.EXTENSION}")
    write_json(f"{path}/trainer_state.json",
               {"global_step": step, "save_total_limit": SAVE_TOTAL_LIMIT, "log_history": history})
    steps = sorted(int(p.rsplit("-", 1)[1]) for p in glob.glob(f"{directory}/checkpoint-*"))
    for old in steps[:-SAVE_TOTAL_LIMIT]:
        print(f"          rotated away: checkpoint-{old}")
        shutil.rmtree(f"{directory}/checkpoint-{old}")


def run(args):
    data, history = Data(), []
    network = make_network(len(data.symbols), not args.numpy)
    generator = numpy.random.default_rng(3)
    size = sum(array.size for array in network.tensors().values())
    print(f"training {network.name}: {size:,} parameters, {len(data.codes):,} characters of text")
    os.makedirs(args.directory, exist_ok=True)
    every = max(1, args.steps // 6)
    saving_s = 0.0
    for step in range(1, args.steps + 1):
        loss = network.step(*data.batch(generator, 0, data.held_out))
        if step % every and step != args.steps:
            continue
        eval_loss = data.evaluate(network)
        history.append({"step": step, "loss": round(loss, 4), "eval_loss": round(eval_loss, 4)})
        print(f"step {step:4}: loss {loss:.3f}, held out {eval_loss:.3f}", flush=True)
        start = time.monotonic()
        save_checkpoint(args.directory, network, step, history)
        network.save_state(f"{args.directory}/last.{network.EXTENSION}", step)
        saving_s += time.monotonic() - start
    print(f"all {len(history)} saves together kept the training waiting for {saving_s:.2f} s")


def evaluate(args):
    data = Data()
    network = make_network(len(data.symbols), not args.numpy)
    if args.file.endswith(".safetensors"):
        network.load(read_safetensors(args.file))
        print(f"loaded; held-out loss {data.evaluate(network):.4f}")
    else:
        print(f"loaded, of step {network.load_state(args.file)}; held-out loss {data.evaluate(network):.4f}")


def save_forever(args):
    """A big state that changes little, like frozen weights with a head that is tuned."""
    data = Data()
    network = make_network(len(data.symbols), not args.numpy)
    pad = numpy.random.default_rng(5).integers(0, 2 ** 32, PAD_BYTES // 4, dtype=numpy.uint32)
    extra = torch.from_numpy(pad.view(numpy.int32)) if torch and not args.numpy else pad
    generator = numpy.random.default_rng(11)
    with open(args.acks, "a", encoding="ascii", buffering=1) as acks:
        for number in range(1, 1000):
            network.step(*data.batch(generator, 0, data.held_out))
            acks.write(f"begin {number}\n")
            try:
                network.save_state(args.file, number, extra)
            except (OSError, RuntimeError) as error:
                sys.exit(f"save {number} failed: {str(error).splitlines()[0]}")
            with open(args.file, "rb") as file:
                digest = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else None
                if digest is None:
                    digest = hashlib.sha256(file.read())
            acks.write(f"done {number} {digest.hexdigest()}\n")


def which(args):
    if torch and not args.numpy:
        print(f"PyTorch {torch.__version__}")
    else:
        print(f"NumPy {numpy.__version__} (there is no PyTorch)")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numpy", action="store_true")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("directory")
    command.add_argument("--steps", type=int, default=120)
    command.set_defaults(function=run)
    command = commands.add_parser("evaluate")
    command.add_argument("file")
    command.set_defaults(function=evaluate)
    command = commands.add_parser("save-forever")
    command.add_argument("file")
    command.add_argument("acks")
    command.set_defaults(function=save_forever)
    commands.add_parser("which").set_defaults(function=which)
    args = parser.parse_args()
    if torch:
        torch.set_num_threads(os.cpu_count() or 1)
    args.function(args)


if __name__ == "__main__":
    main()
