"""Recordings with labels: wav files in a folder or an archive, and their log-mel features."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnjax.base import UserError, check_positive, check_size
from rnnjax.base._arguments import check_array, check_is, check_path, check_text
from rnnjax.data._counted import Counted
from rnnjax.data._fetching import Member, open_archive
from rnnjax.data._files import read_bytes
from rnnjax.data._wav import Recording, decode_wav

_LIMIT = 1 << 28  # bytes of a recording
_ALL = 1 << 30  # bytes of all recordings together after decompression


def _files(path: str) -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Yields the files of a folder or an archive as (name, function that reads it). Nothing is written to disk."""
    if Path(path).is_dir():
        for file in sorted(p for p in Path(path).rglob("*") if p.is_file()):
            yield str(file), partial(read_bytes, str(file), _LIMIT)
        return
    with open_archive(path) as members:
        for member in sorted(members, key=lambda m: m.name):
            yield f"{path}/{member.name}", partial(_member_bytes, member, path)


def _is_recording(name: str) -> bool:
    """Whether a file is a recording by its name: .wav in any case, and not hidden like the files that macOS adds."""
    return name.lower().endswith(".wav") and not PurePosixPath(name).name.startswith(".")


def _member_bytes(member: Member, path: str) -> bytes:
    """Returns the bytes of a member of an archive."""
    if member.size > _LIMIT:
        raise UserError(f"{path}: {member.name} has more than the {_LIMIT} bytes that are read")
    return b"".join(member.pieces())


def recordings(path: str) -> Counted[Recording]:
    """Reads all wav files of a folder or of a tar or zip archive, sorted by name.

    Args:
      path: of the folder or the archive, which is read in place.

    Returns:
      a list that also counts hidden files and files with other names than *.wav: `.passed`, `.note()`.

    Raises:
      UserError: there is none, one is damaged, or they have different rates; or the archive contains links or names
        that lead out of it.

    Example:
      >>> recordings("nowhere.tar.gz")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.tar.gz: No such file or directory
    """
    check_path("recordings: path", path)
    found, total, others = [], 0, 0
    for name, read in _files(path):
        if not _is_recording(name):
            others += 1
            continue
        content = read()
        total += len(content)
        if total > _ALL:
            raise UserError(f"{path} holds recordings of more than the {_ALL} bytes that are read")
        found.append(decode_wav(content, name))
    if not found:
        raise UserError(f"{path} holds no wav file")
    rates = sorted({r.rate for r in found})
    if len(rates) > 1:
        raise UserError(f"{path}: recordings of {rates[0]} and of {rates[-1]} samples a second")
    return Counted(found, {"files other than recordings": others})


def labels_of(name: str) -> np.ndarray:
    """Returns the digits in the name of a recording.

    Raises:
      UserError: the name has anything else between its underscores.

    Example:
      >>> labels_of("0_1_1")
      array([0, 1, 1], dtype=int32)
    """
    check_text("labels_of: name", name)
    parts = name.split("_")
    if not all(len(part) == 1 and part in "0123456789" for part in parts):
        raise UserError(f"the recording {name!r} is not named after its labels: digits with _ between them, 0_1_1.wav")
    return np.array([int(part) for part in parts], np.int32)


class Frames(NamedTuple):
    """How a recording is cut into frames.

    Attributes:
      size: samples per frame.
      hop: samples between the starts of two frames.
    """

    size: int
    hop: int

    def count(self, samples: int) -> int:
        """Returns the number of whole frames in this many samples."""
        return max(0, 1 + (samples - self.size) // self.hop)


def frames(rate: int, window: float = 0.025, hop: float = 0.01) -> Frames:
    """Returns frames of `window` seconds, one every `hop` seconds.

    Example:
      >>> frames(8000), frames(8000).count(8000)
      (Frames(size=200, hop=80), 98)
    """
    check_size("frames: rate", rate)
    check_positive("frames: window", window)
    check_positive("frames: hop", hop)
    return Frames(max(1, round(window * rate)), max(1, round(hop * rate)))


def mel_bank(bins: int, rate: int, mels: int) -> np.ndarray:
    """Returns triangular filters on the mel scale, from 0 to half the rate: `[bins, mels]`, each with a peak of 1.

        mel(f) = 2595 log10(1 + f / 700)

    Args:
      bins: of a spectrum from 0 to half the rate.
      rate: samples per second.
      mels: number of filters.

    Example:
      >>> mel_bank(5, 8000, 2).round(2)
      array([[0.  , 0.  ],
             [0.68, 0.32],
             [0.  , 0.91],
             [0.  , 0.45],
             [0.  , 0.  ]])

    Reference: Davis, Mermelstein, Comparison of parametric representations for monosyllabic word recognition, 1980.
    """
    for name, value in (("bins", bins), ("rate", rate), ("mels", mels)):
        check_size(f"mel_bank: {name}", value)
    highest = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, highest, mels + 2) / 2595) - 1)
    f = np.linspace(0, rate / 2, bins)[:, None]
    up = (f - edges[None, :-2]) / (edges[1:-1] - edges[:-2])[None]
    down = (edges[None, 2:] - f) / (edges[2:] - edges[1:-1])[None]
    return np.maximum(0, np.minimum(up, down))


def log_mel(samples: jax.Array, rate: int, mels: int = 40, cut: Frames | None = None) -> jax.Array:
    """Returns log-mel features: the logarithm of the energy in bands of the mel scale, for each frame.

        y_t = log(|FFT(hann * x[t hop : t hop + size])|^2 bank + 1e-6)

    The FFT size is the next power of two.

    Args:
      samples: `[n]`, at least one frame.
      rate: samples per second.
      mels: number of bands.
      cut: how the samples are cut into frames; None for `frames(rate)`.

    Returns:
      `[frames, mels]`, natural logarithms.

    Raises:
      ValueError: there are fewer samples than a frame has.

    Example: for a tone of 1 kHz, its own band is the loudest.
      >>> import jax.numpy as jnp
      >>> tone = jnp.asarray(np.sin(2 * np.pi * 1000 * np.arange(800) / 8000), jnp.float32)
      >>> features = log_mel(tone, 8000, mels=8)
      >>> features.shape, int(features[0].argmax()), int(mel_bank(129, 8000, 8)[32].argmax())
      ((8, 8), 3, 3)
    """
    samples = jnp.asarray(check_array("log_mel: samples", samples, "[n]", "real"))
    samples = samples if jnp.issubdtype(samples.dtype, jnp.floating) else samples.astype(jnp.float32)
    check_size("log_mel: rate", rate)
    check_size("log_mel: mels", mels)
    if cut is not None:
        check_is("log_mel: cut", cut, Frames)
    cut = cut or frames(rate)
    count, points = cut.count(samples.shape[0]), 1 << (cut.size - 1).bit_length()
    if not count:
        raise ValueError(f"log_mel of {samples.shape[0]} samples, and a frame has {cut.size}")
    at = jnp.arange(count)[:, None] * cut.hop + jnp.arange(cut.size)[None]
    hann = jnp.asarray(np.hanning(cut.size + 1)[:-1], samples.dtype)
    power = jnp.square(jnp.abs(jnp.fft.rfft(samples[at] * hann[None], points)))
    bank = jnp.asarray(mel_bank(points // 2 + 1, rate, mels), power.dtype)
    return jnp.log(power @ bank + jnp.asarray(1e-6, power.dtype))
