"""The training loops of some experiments as a PyTorch user would write them: data, forward, backward, clip, Adam."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rnnjax.app import Config
from rnnjax.runs import usable_cores

Steps = Callable[[int], None]


class Loop:
    """A network of one-hot symbols, LSTM layers and logits, and its optimiser."""

    def __init__(self, config: Config, inputs: int, outputs: int) -> None:
        self.torch: Any = importlib.import_module("torch")
        self.torch.set_num_threads(usable_cores())
        nn, size = self.torch.nn, int(config.hidden_size)
        self.inputs, self.clip = inputs, config.clip_norm
        self.core = nn.LSTM(inputs, size, config.num_layers)
        self.read = nn.Linear(size, outputs)
        self.parameters = [*self.core.parameters(), *self.read.parameters()]
        self.optimizer = self.torch.optim.Adam(self.parameters, lr=float(config.learning_rate))

    def step(self, x: Any, y: Any, carry: Any = None) -> Any:
        """One update on integers x and y `[T, B]`; the carry after it, cut off."""
        f = self.torch.nn.functional
        hs, carry = self.core(f.one_hot(x, self.inputs).float(), carry)
        loss = f.cross_entropy(self.read(hs).flatten(0, 1), y.flatten())
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        self.optimizer.step()
        return tuple(h.detach() for h in carry)


def copying(config: Config, facts: Any) -> Steps:
    """Fresh examples of the copying task at each step."""
    symbols, length, delay, n = config.symbols, config.length, config.delay, config.batch_size
    loop = Loop(config, symbols + 2, symbols + 1)

    def batch() -> tuple[Any, Any]:
        written = loop.torch.randint(symbols, (length, n))
        x = loop.torch.full((delay + 2 * length, n), symbols)
        y = x.clone()
        x[:length], x[delay + length - 1], y[-length:] = written, symbols + 1, written
        return x, y

    def steps(k: int) -> None:
        for _ in range(k):
            loop.step(*batch())

    return steps


def char_lm(config: Config, facts: Any) -> Steps:
    """Windows of random symbols that read on, the carry with them."""
    symbols, window, n = len(facts.alphabet.characters), config.truncation, config.batch_size
    loop = Loop(config, symbols, symbols)
    text = loop.torch.randint(symbols, (n, 200 * window + 1)).T.contiguous()
    at: list[Any] = [0, None]

    def steps(k: int) -> None:
        for _ in range(k):
            start = at[0] % 200 * window
            x, y = text[start : start + window], text[start + 1 : start + window + 1]
            at[:] = at[0] + 1, loop.step(x, y, at[1])

    return steps


LOOPS: dict[str, Callable[[Config, Any], Steps]] = {"copying": copying, "char_lm": char_lm}
