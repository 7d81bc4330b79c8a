"""Words a second of a translator that writes, greedily and by beam search, beside a plain loop in PyTorch.

    python -m benchmarks.decoding
    taskset -c 0 python -m benchmarks.decoding --clock=cpu        # on a machine with other work: one core, its time

A bidirectional LSTM reads a batch of sources, an LSTM with Luong's general attention writes, --words for each, none of
which ends. Both have the same weights and must write the same words. They take turns; printed are medians.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

import rnnjax
from benchmarks import _turns as turns
from rnnjax import decoding, seq2seq
from rnnjax.interop import to_torch
from rnnjax.runs import print_table, usable_cores

FLAGS = flags.FLAGS
flags.DEFINE_integer("batch", 32, "Sources at once.", 1)
flags.DEFINE_integer("source", 15, "Words of a source.", 1)
flags.DEFINE_integer("words", 30, "Words to write for each.", 1)
flags.DEFINE_integer("hidden", 256, "Units, and features of a word; even.", 2)
flags.DEFINE_integer("vocabulary", 8000, "Words of each language.", 2)
flags.DEFINE_integer("beam", 5, "Hypotheses.", 1)
flags.DEFINE_integer("turns", 5, "Turns that each gets.", 1)


def network() -> seq2seq.EncoderDecoder:
    """The translator."""
    h, v = FLAGS.hidden, FLAGS.vocabulary
    general = seq2seq.general(h)

    def decoder(memory: Any) -> rnnjax.Cell:
        return rnnjax.stack(rnnjax.embed(v, h), rnnjax.luong(rnnjax.lstm(h), general, memory, h), rnnjax.linear(v))

    encoder = rnnjax.stack(rnnjax.embed(v, h), rnnjax.bidirectional(rnnjax.lstm(h // 2)))
    return rnnjax.encoder_decoder(encoder, decoder, general, bridge=False)


def ours(params: Any, sources: np.ndarray, width: int) -> Callable[[], np.ndarray]:
    """rnnjax: jax.vmap of one compiled search; width 0 is greedy."""
    net, n, xs = network(), FLAGS.words, jnp.asarray(sources)

    def one(params: Any, source: jax.Array) -> jax.Array:
        cell, inner = net.begin(params, source)
        carry, logits = rnnjax.run(cell, inner, jnp.int32(0))
        if not width:
            return decoding.decode(cell, inner, carry, logits, n, decoding.greedy, jax.random.key(0), -1).symbols
        return decoding.beam_search(cell, inner, carry, logits, n, width, -1).symbols[0]

    compiled = jax.jit(jax.vmap(one, (None, 0)))
    return lambda: np.asarray(compiled(params, xs))


def theirs(params: Any, sources: np.ndarray, width: int) -> Callable[[], np.ndarray]:
    """PyTorch: the modules that everybody takes, in a loop over words that keeps a batch of hypotheses."""
    torch: Any = importlib.import_module("torch")
    nn = torch.nn
    torch.set_num_threads(usable_cores())
    h, b, n, k = FLAGS.hidden, len(sources), FLAGS.words, max(width, 1)

    def tensor(a: Any) -> Any:
        return torch.from_numpy(np.array(a))

    def state(tree: Any) -> dict[str, Any]:
        return {name: torch.from_numpy(np.array(a)) for name, a in to_torch(tree).items()}

    words_in, encoder_params = params["encoder"]
    words_out, attends, read = params["decoder"]
    encoder, cell = nn.LSTM(h, h // 2, bidirectional=True, batch_first=True), nn.LSTMCell(h, h)
    encoder.load_state_dict(state(encoder_params))
    cell.load_state_dict({name.removesuffix("_l0"): a for name, a in state(attends["core"]).items()})
    tables = nn.Embedding.from_pretrained(tensor(words_in["w"])), nn.Embedding.from_pretrained(tensor(words_out["w"]))
    keys_w, mix, out_w, out_b = map(tensor, (params["keys"]["w"], attends["mix"][0]["w"], read["w"], read["b"]))
    xs = torch.from_numpy(sources.astype(np.int64))

    def step(word: Any, hidden: Any, values: Any, keys: Any) -> tuple[Any, Any]:
        hidden = cell(tables[1](word), hidden)
        weights = torch.softmax(torch.bmm(keys, hidden[0][:, :, None])[:, :, 0], dim=1)
        context = torch.bmm(weights[:, None], values)[:, 0]
        return torch.tanh(torch.cat([context, hidden[0]], dim=1) @ mix) @ out_w + out_b, hidden

    @torch.no_grad()
    def search() -> np.ndarray:
        values = encoder(tables[0](xs))[0].repeat_interleave(k, dim=0)
        keys = values @ keys_w
        word, hidden = torch.zeros(b * k, dtype=torch.long), (torch.zeros(b * k, h), torch.zeros(b * k, h))
        total = torch.full((b, k), -torch.inf)
        total[:, 0] = 0
        said = torch.zeros(b * k, 0, dtype=torch.long)
        for _ in range(n):
            logits, hidden = step(word, hidden, values, keys)
            if not width:
                word = logits.argmax(1)
                said = torch.cat([said, word[:, None]], dim=1)
                continue
            p = torch.log_softmax(logits, dim=1).view(b, k, -1) + total[:, :, None]
            total, at = p.view(b, -1).topk(k, dim=1)
            parent = (at // FLAGS.vocabulary + torch.arange(b)[:, None] * k).view(-1)
            word = (at % FLAGS.vocabulary).view(-1)
            hidden = tuple(a[parent] for a in hidden)
            said = torch.cat([said[parent], word[:, None]], dim=1)
        return np.asarray(said.view(b, k, n)[:, 0])

    return search


def main(argv: list[str]) -> None:
    """Times greedy and beam search in turn, and prints words a second."""
    del argv
    rng = np.random.default_rng(0)
    sources = rng.integers(0, FLAGS.vocabulary, (FLAGS.batch, FLAGS.source)).astype(np.int32)
    target = jnp.zeros(FLAGS.words, jnp.int32)
    params = jax.jit(network().init)(jax.random.key(0), rnnjax.SourceTarget(jnp.asarray(sources[0]), target))
    calls: dict[str, Callable[[], np.ndarray]] = {}
    for way, width in (("greedy", 0), (f"beam {FLAGS.beam}", FLAGS.beam)):
        calls[f"rnnjax, {way}"] = ours(params, sources, width)
        try:
            calls[f"PyTorch, {way}"] = theirs(params, sources, width)
        except ImportError:
            print("PyTorch is left out: it is not installed")
            continue
        same = (calls[f"rnnjax, {way}"]() == calls[f"PyTorch, {way}"]()).all(1).mean()
        print(f"{way}: {same:.0%} of the texts are the same, word by word")
    median = turns.in_turn(calls, FLAGS.turns)
    words = FLAGS.batch * FLAGS.words
    rows: list[dict[str, Any]] = []
    for name, s in median.items():
        peer = median.get(name.replace("rnnjax", "PyTorch"), s)
        greedy = median[name.split(",")[0] + ", greedy"]
        rows.append(
            {
                "": name,
                "words/s": words / s,
                "ms": 1e3 * s,
                "time of PyTorch / its": peer / s,
                "its time / greedy": s / greedy,
            }
        )
    print_table(rows, title=f"{FLAGS.batch} sources at once, {FLAGS.words} words each ({FLAGS.clock} time)")
    turns.write_json({"rows": rows})


if __name__ == "__main__":
    app.run(main)
