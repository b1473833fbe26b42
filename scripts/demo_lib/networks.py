"""Two small character-level language models with one interface: in PyTorch, and in NumPy alone.

  step(inputs, targets) -> loss      trains on one batch
  loss(inputs, targets) -> float     only looks
  tensors() -> {name: array}         the weights, for safetensors
  load(tensors)
  save_state(path), load_state(path) weights and optimizer, in place, as the framework saves
  EXTENSION                          of such a file
"""

import numpy

try:
    import torch
except ImportError:
    torch = None

CONTEXT = 64


def make_network(vocabulary, prefer_torch=True):
    return TorchNetwork(vocabulary) if torch and prefer_torch else NumpyNetwork(vocabulary)


if torch:
    class _Transformer(torch.nn.Module):
        WIDTH, LAYERS, HEADS = 160, 2, 4

        def __init__(self, vocabulary):
            super().__init__()
            self.embedding = torch.nn.Embedding(vocabulary, self.WIDTH)
            self.position = torch.nn.Parameter(torch.randn(CONTEXT, self.WIDTH) * 0.02)
            layer = torch.nn.TransformerEncoderLayer(self.WIDTH, self.HEADS, 4 * self.WIDTH, dropout=0.0,
                                                     batch_first=True, norm_first=True)
            self.layers = torch.nn.TransformerEncoder(layer, self.LAYERS)
            self.head = torch.nn.Linear(self.WIDTH, vocabulary)
            mask = torch.full((CONTEXT, CONTEXT), float("-inf")).triu(1)
            self.register_buffer("mask", mask, persistent=False)

        def forward(self, inputs):
            return self.head(self.layers(self.embedding(inputs) + self.position, self.mask))


class TorchNetwork:
    EXTENSION = "pt"

    def __init__(self, vocabulary):
        torch.manual_seed(1)
        self.name = f"a transformer in PyTorch {torch.__version__}"
        self.module = _Transformer(vocabulary)
        self.optimizer = torch.optim.AdamW(self.module.parameters(), lr=1e-3)
        self.config = {"model_type": "demo-char-transformer", "vocab_size": vocabulary,
                       "hidden_size": _Transformer.WIDTH, "num_hidden_layers": _Transformer.LAYERS}

    def _loss(self, inputs, targets):
        logits = self.module(torch.from_numpy(inputs))
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.from_numpy(targets).flatten())

    def step(self, inputs, targets):
        self.optimizer.zero_grad()
        loss = self._loss(inputs, targets)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def loss(self, inputs, targets):
        with torch.no_grad():
            return self._loss(inputs, targets).item()

    def tensors(self):
        return {name: tensor.numpy() for name, tensor in self.module.state_dict().items()}

    def load(self, tensors):
        self.module.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})

    def save_optimizer(self, path):
        torch.save(self.optimizer.state_dict(), path)

    def save_state(self, path, step, extra=None):
        torch.save({"step": step, "model": self.module.state_dict(), "extra": extra,
                    "optimizer": self.optimizer.state_dict()}, path)

    def load_state(self, path):
        state = torch.load(path, map_location="cpu")
        self.module.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        return state["step"]


class NumpyNetwork:
    """Predicts a character from the 8 before it: embedding, one hidden layer, Adam."""
    EXTENSION = "npz"
    BEFORE, EMBEDDING, HIDDEN = 8, 32, 384

    def __init__(self, vocabulary):
        generator = numpy.random.default_rng(1)

        def normal(*shape):
            return (generator.standard_normal(shape) / numpy.sqrt(shape[0])).astype(numpy.float32)
        self.name = f"a two-layer network in NumPy {numpy.__version__}"
        self.weights = {"embedding.weight": normal(vocabulary, self.EMBEDDING),
                        "hidden.weight": normal(self.BEFORE * self.EMBEDDING, self.HIDDEN),
                        "hidden.bias": numpy.zeros(self.HIDDEN, numpy.float32),
                        "head.weight": normal(self.HIDDEN, vocabulary),
                        "head.bias": numpy.zeros(vocabulary, numpy.float32)}
        self.first = {name: numpy.zeros_like(array) for name, array in self.weights.items()}
        self.second = {name: numpy.zeros_like(array) for name, array in self.weights.items()}
        self.steps = 0
        self.config = {"model_type": "demo-char-mlp", "vocab_size": vocabulary,
                       "hidden_size": self.HIDDEN, "num_hidden_layers": 1}

    def _forward(self, inputs, targets):
        rows = numpy.lib.stride_tricks.sliding_window_view(inputs, self.BEFORE, axis=1).reshape(-1, self.BEFORE)
        wanted = targets[:, self.BEFORE - 1:].reshape(-1)
        embedded = self.weights["embedding.weight"][rows].reshape(len(rows), -1)
        hidden = numpy.tanh(embedded @ self.weights["hidden.weight"] + self.weights["hidden.bias"])
        logits = hidden @ self.weights["head.weight"] + self.weights["head.bias"]
        logits -= logits.max(axis=1, keepdims=True)
        odds = numpy.exp(logits)
        odds /= odds.sum(axis=1, keepdims=True)
        loss = -numpy.log(odds[numpy.arange(len(wanted)), wanted] + 1e-9).mean()
        return float(loss), (rows, wanted, embedded, hidden, odds)

    def loss(self, inputs, targets):
        return self._forward(inputs, targets)[0]

    def step(self, inputs, targets):
        loss, (rows, wanted, embedded, hidden, odds) = self._forward(inputs, targets)
        odds[numpy.arange(len(wanted)), wanted] -= 1
        odds /= len(wanted)
        into_hidden = (odds @ self.weights["head.weight"].T) * (1 - hidden * hidden)
        into_embedded = (into_hidden @ self.weights["hidden.weight"].T).reshape(-1, self.EMBEDDING)
        embedding = numpy.zeros_like(self.weights["embedding.weight"])
        numpy.add.at(embedding, rows.reshape(-1), into_embedded)
        self._adam({"embedding.weight": embedding, "hidden.weight": embedded.T @ into_hidden,
                    "hidden.bias": into_hidden.sum(axis=0), "head.weight": hidden.T @ odds,
                    "head.bias": odds.sum(axis=0)})
        return loss

    def _adam(self, gradients, rate=1e-3):
        self.steps += 1
        for name, gradient in gradients.items():
            self.first[name] += 0.1 * (gradient - self.first[name])
            self.second[name] += 0.001 * (gradient * gradient - self.second[name])
            mean = self.first[name] / (1 - 0.9 ** self.steps)
            spread = numpy.sqrt(self.second[name] / (1 - 0.999 ** self.steps)) + 1e-8
            self.weights[name] -= (rate * mean / spread).astype(numpy.float32)

    def tensors(self):
        return self.weights

    def load(self, tensors):
        self.weights = dict(tensors)

    def _moments(self):
        return {**{f"first.{name}": array for name, array in self.first.items()},
                **{f"second.{name}": array for name, array in self.second.items()}}

    def save_optimizer(self, path):
        with open(path, "wb") as file:
            numpy.savez(file, **self._moments())

    def save_state(self, path, step, extra=None):
        with open(path, "wb") as file:
            more = {} if extra is None else {"extra": extra}
            numpy.savez(file, step=step, **more, **self._moments(),
                        **{f"model.{name}": array for name, array in self.weights.items()})

    def load_state(self, path):
        with numpy.load(path) as state:
            prefix = "model."
            self.weights = {name[len(prefix):]: state[name] for name in state.files if name.startswith(prefix)}
            return int(state["step"])
