"""Trains a small GPT for real and saves its checkpoints: the series that figures are taken on.

In NumPy, on the text of Python's own library, from one seed: anybody gets the same kind of
weights without a framework. Files are safetensors; torch's optimizer state is one, too.
"""

import argparse
import glob
import json
import os
import struct
import sysconfig

import numpy as np

BF16 = "bf16"


def corpus(limit=8 << 20):
    paths = sorted(glob.glob(os.path.join(sysconfig.get_paths()["stdlib"], "*.py")))
    text = bytearray()
    for path in paths:
        with open(path, "rb") as file:
            text += file.read()
        if len(text) >= limit:
            break
    return np.frombuffer(bytes(text[:limit]), np.uint8).astype(np.int64)


def to_bf16(array):
    """Rounded to nearest, ties to even, as every framework exports."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def save_safetensors(path, tensors, metadata=None):
    header, at, blobs = {}, 0, []
    if metadata:
        header["__metadata__"] = {key: str(value) for key, value in metadata.items()}
    for name, (kind, array) in tensors.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [at, at + len(blob)]}
        at += len(blob)
        blobs.append(blob)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for blob in blobs:
            file.write(blob)


class Gpt:
    def __init__(self, width, layers, heads, context, seed):
        random = np.random.default_rng(seed)
        self.width, self.layers, self.heads, self.context = width, layers, heads, context

        def normal(*shape, scale=0.02):
            return (random.standard_normal(shape) * scale).astype(np.float32)

        p = {"wte": normal(256, width), "wpe": normal(context, width)}
        for i in range(layers):
            h = f"h.{i}."
            p[h + "ln_1.weight"] = np.ones(width, np.float32)
            p[h + "ln_1.bias"] = np.zeros(width, np.float32)
            p[h + "attn.c_attn.weight"] = normal(width, 3 * width)
            p[h + "attn.c_proj.weight"] = normal(width, width, scale=0.02 / np.sqrt(2 * layers))
            p[h + "ln_2.weight"] = np.ones(width, np.float32)
            p[h + "ln_2.bias"] = np.zeros(width, np.float32)
            p[h + "mlp.c_fc.weight"] = normal(width, 4 * width)
            p[h + "mlp.c_fc.bias"] = np.zeros(4 * width, np.float32)
            p[h + "mlp.c_proj.weight"] = normal(4 * width, width,
                                                scale=0.02 / np.sqrt(2 * layers))
        p["ln_f.weight"] = np.ones(width, np.float32)
        p["ln_f.bias"] = np.zeros(width, np.float32)
        p["lm_head.weight"] = normal(width, 256)
        self.p = p

    def loss_and_gradients(self, tokens, targets):
        p, g, tape = self.p, {}, []
        batch, length = tokens.shape
        mask = np.triu(np.full((length, length), -1e9, np.float32), 1)
        x = p["wte"][tokens] + p["wpe"][:length]
        for i in range(self.layers):
            h = f"h.{i}."
            n, norm = _norm(x, p[h + "ln_1.weight"], p[h + "ln_1.bias"])
            qkv = n @ p[h + "attn.c_attn.weight"]
            q, k, v = (part.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)
                       for part in np.split(qkv, 3, axis=-1))
            scale = np.float32(1 / np.sqrt(q.shape[-1]))
            a = _softmax(q @ k.transpose(0, 1, 3, 2) * scale + mask)
            o = (a @ v).transpose(0, 2, 1, 3).reshape(batch, length, -1)
            x = x + o @ p[h + "attn.c_proj.weight"]
            m, norm2 = _norm(x, p[h + "ln_2.weight"], p[h + "ln_2.bias"])
            u = m @ p[h + "mlp.c_fc.weight"] + p[h + "mlp.c_fc.bias"]
            t = np.tanh(np.float32(0.7978846) * (u + np.float32(0.044715) * u * u * u))
            r = np.float32(0.5) * u * (1 + t)
            x = x + r @ p[h + "mlp.c_proj.weight"]
            tape.append((n, norm, q, k, v, scale, a, o, m, norm2, u, t, r))
        f, norm = _norm(x, p["ln_f.weight"], p["ln_f.bias"])
        logits = f @ p["lm_head.weight"]
        probabilities = _softmax(logits)
        picked = np.take_along_axis(probabilities, targets[..., None], -1)
        loss = float(-np.log(picked + 1e-9).mean())
        d = probabilities
        np.put_along_axis(d, targets[..., None], picked - 1, -1)
        d /= tokens.size
        g["lm_head.weight"] = _outer(f, d)
        dx = _norm_back(d @ p["lm_head.weight"].T, norm, p, g, "ln_f.")
        for i in reversed(range(self.layers)):
            h = f"h.{i}."
            n, norm, q, k, v, scale, a, o, m, norm2, u, t, r = tape[i]
            g[h + "mlp.c_proj.weight"] = _outer(r, dx)
            dr = dx @ p[h + "mlp.c_proj.weight"].T
            inner = np.float32(0.7978846) * (1 + 3 * np.float32(0.044715) * u * u)
            du = dr * np.float32(0.5) * (1 + t + u * (1 - t * t) * inner)
            g[h + "mlp.c_fc.weight"] = _outer(m, du)
            g[h + "mlp.c_fc.bias"] = du.sum((0, 1))
            dx = dx + _norm_back(du @ p[h + "mlp.c_fc.weight"].T, norm2, p, g, h + "ln_2.")
            g[h + "attn.c_proj.weight"] = _outer(o, dx)
            do = (dx @ p[h + "attn.c_proj.weight"].T).reshape(
                batch, length, self.heads, -1).transpose(0, 2, 1, 3)
            da = do @ v.transpose(0, 1, 3, 2)
            dv = a.transpose(0, 1, 3, 2) @ do
            ds = a * (da - (da * a).sum(-1, keepdims=True)) * scale
            dq, dk = ds @ k, ds.transpose(0, 1, 3, 2) @ q
            dqkv = np.concatenate([part.transpose(0, 2, 1, 3).reshape(batch, length, -1)
                                   for part in (dq, dk, dv)], -1)
            g[h + "attn.c_attn.weight"] = _outer(n, dqkv)
            dx = dx + _norm_back(dqkv @ p[h + "attn.c_attn.weight"].T, norm, p, g, h + "ln_1.")
        g["wpe"] = np.zeros_like(p["wpe"])
        g["wpe"][:length] = dx.sum(0)
        g["wte"] = np.zeros_like(p["wte"])
        np.add.at(g["wte"], tokens.reshape(-1), dx.reshape(-1, self.width))
        return loss, g


def _outer(a, b):
    return a.reshape(-1, a.shape[-1]).T @ b.reshape(-1, b.shape[-1])


def _softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _norm(x, weight, bias):
    mean = x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(x.var(-1, keepdims=True) + np.float32(1e-5))
    y = (x - mean) * inverse
    return y * weight + bias, (y, inverse)


def _norm_back(d, norm, p, g, name):
    y, inverse = norm
    g[name + "weight"] = (d * y).sum((0, 1))
    g[name + "bias"] = d.sum((0, 1))
    d = d * p[name + "weight"]
    return inverse * (d - d.mean(-1, keepdims=True) - y * (d * y).mean(-1, keepdims=True))


class AdamW:
    def __init__(self, p, names=None):
        self.names = list(names or p)
        self.m = {name: np.zeros_like(p[name]) for name in self.names}
        self.v = {name: np.zeros_like(p[name]) for name in self.names}
        self.t = 0

    def step(self, p, g, rate):
        self.t += 1
        for name in self.names:
            m, v = self.m[name], self.v[name]
            m += np.float32(0.1) * (g[name] - m)
            v += np.float32(0.05) * (g[name] * g[name] - v)
            mh = m / np.float32(1 - 0.9 ** self.t)
            vh = v / np.float32(1 - 0.95 ** self.t)
            if p[name].ndim > 1:
                p[name] *= np.float32(1 - rate * 0.1)
            p[name] -= np.float32(rate) * mh / (np.sqrt(vh) + np.float32(1e-8))


class Run:
    def __init__(self, options):
        self.options = options
        self.text = corpus()
        self.model = Gpt(options.width, options.layers, 4, options.context, options.seed)
        self.random = np.random.default_rng(options.seed + 1)

    def batch(self):
        o = self.options
        at = self.random.integers(0, len(self.text) - o.context - 1, o.batch)
        rows = np.stack([self.text[i:i + o.context + 1] for i in at])
        return rows[:, :-1], rows[:, 1:]

    def gradients(self):
        return self.model.loss_and_gradients(*self.batch())

    def save(self, name, step, adam=None, kinds=("F32",), metadata=None):
        p, out = self.model.p, self.options.out
        directory = os.path.join(out, name, f"checkpoint-{step:05d}")
        metadata = {"step": step, **(metadata or {})}
        if "F32" in kinds:
            save_safetensors(os.path.join(directory, "model.safetensors"),
                             {key: ("F32", value) for key, value in p.items()}, metadata)
        if "BF16" in kinds:
            target = directory if kinds == ("BF16",) else os.path.join(
                out, name + "-" + BF16, f"checkpoint-{step:05d}")
            save_safetensors(os.path.join(target, "model.safetensors"),
                             {key: ("BF16", to_bf16(value)) for key, value in p.items()}, metadata)
        if adam is not None:
            state = {f"exp_avg.{key}": ("F32", value) for key, value in adam.m.items()}
            state.update({f"exp_avg_sq.{key}": ("F32", value) for key, value in adam.v.items()})
            save_safetensors(os.path.join(directory, "optimizer.safetensors"), state, metadata)

    def train(self, name, steps, every, update, **save):
        loss = 0.0
        for step in range(1, steps + 1):
            loss, g = self.gradients()
            update(step, g)
            if step % every == 0:
                print(f"{name} {step}: loss {loss:.3f}", flush=True)
                self.save(name, step, **save)

    def all(self):
        o, p = self.options, self.model.p
        adam = AdamW(p)
        every = o.every

        def pretrain(step, g):
            warm = min(1.0, step / 50)
            adam.step(p, g, 1e-3 * warm * (0.1 + 0.9 * (1 - step / (o.start + 10 * every))))

        for step in range(1, o.start + 1):
            loss, g = self.gradients()
            pretrain(step, g)
        print(f"warmed up: loss {loss:.3f}", flush=True)
        self.train("pretraining", 10 * every, every, lambda step, g: pretrain(o.start + step, g),
                   adam=adam, kinds=("F32", "BF16"))
        trained = {name: value.copy() for name, value in p.items()}

        def restore():
            for name, value in trained.items():
                p[name][...] = value

        last = [name for name in p if name.startswith((f"h.{o.layers - 1}.", "ln_f", "lm_head"))]
        tuner = AdamW(p, last)
        self.train("finetuning-frozen", 5 * 20, 20, lambda step, g: tuner.step(p, g, 1e-4))
        restore()
        small = AdamW(p)
        self.train("finetuning-bf16", 5 * 10, 10, lambda step, g: small.step(p, g, 1e-6),
                   kinds=("BF16",))
        restore()

        def descend(step, g):
            for name in p:
                p[name] -= np.float32(1e-3) * g[name]

        self.train("sgd", 10 * 5, 5, descend)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--start", type=int, default=200)
    parser.add_argument("--every", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    Run(parser.parse_args()).all()


if __name__ == "__main__":
    main()
