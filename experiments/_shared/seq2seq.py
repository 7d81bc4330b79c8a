"""Flags, network, decoding and pictures for the sequence-to-sequence experiments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from absl import flags

import rnnjax
from rnnjax import app, data, decoding, losses, seq2seq, training, wrappers
from rnnjax.base import PyTree, UserError
from rnnjax.data import Batch
from rnnjax.plotting import draw_alignment, save

ATTENTIONS = ("none", "bahdanau", "dot", "general", "concat")
SAMPLINGS = ("none", "constant", "linear", "exponential", "inverse_sigmoid")


def translator_flags(v: flags.FlagValues, attention: str, location: int = 0) -> None:
    """Defines the flags of an encoder-decoder."""
    flags.DEFINE_enum(
        "attention",
        attention,
        ATTENTIONS,
        "How the decoder attends to the source; none: it only has the encoder's last state.",
        flag_values=v,
    )
    flags.DEFINE_boolean(
        "feed",
        False,
        "Input feeding: the decoder also reads its last attentional output; not for none or bahdanau.",
        flag_values=v,
    )
    flags.DEFINE_boolean(
        "coverage", False, "The score uses the sum of past attention weights; for concat or bahdanau.", flag_values=v
    )
    flags.DEFINE_integer(
        "location",
        location,
        "Width of the window of last attention weights that the score uses, an odd number, or 0; "
        "for concat and bahdanau.",
        0,
        flag_values=v,
    )
    flags.DEFINE_enum(
        "encoder",
        "both",
        ["both", "forward"],
        "Whether the encoder reads in both directions or forward only.",
        flag_values=v,
    )
    flags.DEFINE_integer("embedding_size", 32, "Embedding size of a symbol.", 1, flag_values=v)
    flags.DEFINE_enum(
        "sampling",
        "none",
        SAMPLINGS,
        "Scheduled sampling: how the probability decays that the decoder reads the target symbol rather than its own "
        "prediction; none: it always reads the target. constant with --sampling_last=0 is free running.",
        flag_values=v,
    )
    flags.DEFINE_float("sampling_pace", 500.0, "Approximate number of steps of the decay.", 1e-6, flag_values=v)
    flags.DEFINE_float("sampling_last", 0.5, "Final probability of the decay.", 0, 1, flag_values=v)
    flags.DEFINE_integer("beam", 5, "Beam width of the beam search at the end.", 1, flag_values=v)
    flags.DEFINE_float("length_penalty", 0.0, "Above 0, beam search favours longer texts.", flag_values=v)


def translator(
    config: app.Config, read: int, write: int, teach: Callable[[rnnjax.Cell], rnnjax.Cell] = lambda cell: cell
) -> seq2seq.EncoderDecoder:
    """Returns the network of the flags, from `read` kinds of symbol to logits of `write` kinds."""
    h, dtype = config.hidden_size, jnp.dtype(config.dtype)
    if config.encoder == "both" and h % 2:
        raise UserError(f"--hidden_size={h}: half of the units read from either end, with --encoder=both")
    location = config.location if config.attention in ("bahdanau", "concat") else 0
    if config.coverage and config.attention not in ("bahdanau", "concat"):
        raise UserError(f"--coverage goes with --attention=bahdanau or concat, not {config.attention}")
    if location and location % 2 == 0:
        raise UserError(f"--location={location}: an odd number of places, or 0")
    if config.feed and config.attention in ("none", "bahdanau"):
        raise UserError(f"--feed goes with --attention=dot, general or concat, not {config.attention}")
    drop = [rnnjax.dropout(config.dropout)] if config.dropout else []
    half = config.single_layer(h // 2 if config.encoder == "both" else h)
    layer = rnnjax.bidirectional(half) if config.encoder == "both" else rnnjax.unroll(half)
    encoder = rnnjax.stack(
        rnnjax.embed(read, config.embedding_size, dtype=dtype), *[*drop, layer] * config.num_layers, *drop
    )
    attention = {
        "none": None,
        "dot": seq2seq.dot(),
        "general": seq2seq.general(h),
        "concat": seq2seq.additive(h, config.coverage, location),
        "bahdanau": seq2seq.additive(h, config.coverage, location),
    }[config.attention]

    def decoder(memory: Any) -> rnnjax.Cell:
        core = config.layers()
        if attention is not None and config.attention == "bahdanau":
            core = seq2seq.bahdanau(core, attention, memory)
        elif attention is not None:
            core = seq2seq.luong(core, attention, memory, h, config.feed)
        words = rnnjax.embed(write, config.embedding_size, dtype=dtype)
        return teach(rnnjax.stack(words, *drop, core, *drop, rnnjax.linear(write)))

    weights = decoder(seq2seq.Memory((), ())).weights
    return seq2seq.encoder_decoder(encoder, seq2seq.Decoder(decoder, weights), attention)


def objective(outputs: PyTree, batch: Batch) -> losses.Metrics:
    """Nats and accuracy per symbol, and the fraction of entirely correct targets, under teacher forcing."""
    right = (rnnjax.base.without_marks(outputs).argmax(-1) == batch.y) | ~batch.mask
    return losses.classify(outputs, batch) | {"exact": losses.mean(right.all()[None].astype(jnp.float32))}


def training_network(config: app.Config, read: int, write: int) -> tuple[rnnjax.Cell, Callable[..., data.Stream]]:
    """Returns the training network under `--sampling`, and a function (stream, training) -> stream for its streams."""
    if config.sampling == "none":
        return translator(config, read, write), lambda stream, learning=False: stream
    eps = wrappers.sampling_schedule(config.sampling, config.sampling_pace, config.sampling_last)
    always = wrappers.sampling_schedule("constant", 1.0, last=1.0)
    cell = translator(config, read, write, wrappers.scheduled_sampling)
    return cell, lambda stream, learning=False: wrappers.with_sampling(stream, eps if learning else always)


def decode(
    net: seq2seq.EncoderDecoder, config: app.Config, limit: int, end: int
) -> Callable[[PyTree, PyTree], tuple[decoding.Decoded, decoding.Decoded]]:
    """Returns (params, sources) -> greedy output and best beam output; it compiles once per shape."""

    def one(params: PyTree, source: PyTree) -> tuple[decoding.Decoded, decoding.Decoded]:
        cell, inner = net.begin(params, source)
        carry, logits = rnnjax.run(cell, inner, jnp.int32(end))
        greedily = decoding.decode(cell, inner, carry, logits, limit, decoding.greedy, jax.random.key(0), end)
        beams = decoding.beam_search(cell, inner, carry, logits, limit, config.beam, end, config.length_penalty)
        return greedily, jax.tree.map(lambda a: a[0], beams)

    return jax.jit(jax.vmap(one, (None, 0)))


def exact_fraction(said: decoding.Decoded, batch: Batch) -> float:
    """Returns the fraction of texts that are correct from the first symbol to the end."""
    n = batch.y.shape[1]
    return float(((said.symbols[:, :n] == batch.y) | ~batch.mask).all(1).mean())


def exposure(result: app.Result, stream: data.Stream, net: rnnjax.Cell) -> dict[str, float]:
    """Returns nats and accuracy per symbol under teacher forcing and free running: the exposure gap."""

    @jax.jit
    def at(eps: jax.Array) -> losses.Metrics:
        taught = wrappers.with_sampling(stream, lambda i: eps)
        return training.evaluate(net, objective, taught)(result.params, result.data, jax.random.key(1))

    ways = {"reading the target": at(jnp.float32(1)), "reading itself": at(jnp.float32(0))}
    return {f"{name}, {how}": float(metrics[name].value()) for how, metrics in ways.items() for name in metrics}


def alignment_picture(
    result: app.Result,
    net: seq2seq.EncoderDecoder,
    source: PyTree,
    reads: Sequence[str],
    writes: Sequence[str],
    end: int,
) -> None:
    """Draws the attention weights while the decoder writes; reads and writes are the names of the symbols."""

    @jax.jit
    def look(params: PyTree, source: PyTree) -> tuple[decoding.Decoded, jax.Array]:
        cell, inner = net.begin(params, source)
        carry, logits = rnnjax.run(cell, inner, jnp.int32(end))
        limit = source.x.shape[0] + 5
        said = decoding.decode(cell, inner, carry, logits, limit, decoding.greedy, jax.random.key(0), end)
        read = jnp.concatenate([jnp.array([end], said.symbols.dtype), said.symbols[:-1]])
        return said, seq2seq.alignments(cell, inner, read)

    said, weights = jax.device_get(look(result.params, source))
    n, m = int(source.valid.sum()), int(said.length)
    path = Path(result.summary["workdir"]) / f"alignment.{result.config.picture}"
    save(
        path,
        draw_alignment(
            weights[:m, :n],
            [reads[int(s)] for s in source.x[:n]],
            [writes[int(s)] for s in said.symbols[:m]],
            f"{result.config.attention} attention, {result.config.cell}",
        ),
    )
    print(f"alignment: {path}")
