"""Decodes wav files: integers of 8 to 32 bits and floating point numbers, in plain and in extensible form."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple, NoReturn

import numpy as np

from rnnjax.base import UserError

_FASTEST = 10_000_000  # samples a second
_INTEGERS, _FLOATS, _EXTENSIBLE = 1, 3, 0xFFFE
_OTHERS = {2: "ADPCM", 6: "A-law", 7: "mu-law", 0x11: "IMA ADPCM", 0x55: "MP3"}


class Recording(NamedTuple):
    """A recording.

    Attributes:
      name: of its file, without the extension.
      samples: float32 `[n]` in [-1, 1], the mean of the channels.
      rate: samples per second.
    """

    name: str
    samples: np.ndarray
    rate: int


class _Form(NamedTuple):
    """The chunk "fmt " of a wav file.

    Attributes:
      kind: of the samples.
      channels: of the recording.
      rate: samples per second.
      block: bytes of one sample of all channels.
    """

    kind: int
    channels: int
    rate: int
    block: int


def decode_wav(content: bytes, path: str) -> Recording:
    """Decodes a wav file of integers (PCM) of 8, 16, 24 or 32 bits, or of floating point numbers of 32 or 64 bits.

    Args:
      content: the bytes of the file.
      path: for the name and for messages.

    Raises:
      UserError: the file has another format, is cut short, or has no samples, or one that is not finite.

    Example:
      >>> import io, wave
      >>> file = io.BytesIO()
      >>> with wave.open(file, "wb") as out:
      ...     out.setparams((1, 2, 8000, 2, "NONE", ""))
      ...     out.writeframes(np.array([0, 16384], "<i2").tobytes())
      >>> decode_wav(file.getvalue(), "a/b.wav")
      Recording(name='b', samples=array([0. , 0.5], dtype=float32), rate=8000)

    Reference: Microsoft, IBM, Multimedia programming interface and data specifications 1.0, 1991.
    """
    chunks: dict[bytes, bytes] = {}
    for name, body in _chunks(content, path):
        if name in (b"fmt ", b"data") and name in chunks:
            _refuse(path, f"its chunk {name.decode()!r} comes twice")
        chunks.setdefault(name, body)
    if b"fmt " not in chunks or b"data" not in chunks:
        _refuse(path, "it has no chunk 'fmt '" if b"fmt " not in chunks else "it has no chunk 'data'")
    form, data = _form(chunks[b"fmt "], path), chunks[b"data"]
    if not data:
        raise UserError(f"{path} has no sample")
    if len(data) % form.block:
        _refuse(path, f"{len(data)} bytes of samples are no multiple of {form.block}")
    with np.errstate(over="ignore"):
        x = _samples(data, form, path).reshape(-1, form.channels).mean(1).astype(np.float32)
    if not np.isfinite(x).all():
        _refuse(path, f"sample {int(np.argmin(np.isfinite(x))) + 1} is not finite")
    return Recording(PurePosixPath(path).stem, x, form.rate)


def _chunks(content: bytes, path: str) -> Iterator[tuple[bytes, bytes]]:
    """Yields the chunks of a wav file as (name, content)."""
    if content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        _refuse(path, f"it begins with {content[:12]!r}" if content else "it is empty")
    at, end = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    end = len(content) if end <= 12 else end  # a stream whose length was not known
    while at + 8 <= end:
        name, size = struct.unpack("<4sI", content[at : at + 8])
        if at + 8 + size > len(content):
            said = f"{size} bytes of chunk {name.decode('latin-1')!r} announced, {len(content) - at - 8} there"
            raise UserError(f"{path}: {said}")
        yield name, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _form(body: bytes, path: str) -> _Form:
    """Returns the form of the samples."""
    if len(body) < 16:
        _refuse(path, "its chunk 'fmt ' is cut short")
    kind, channels, rate, _, block, bits = struct.unpack("<HHIIHH", body[:16])
    if kind == _EXTENSIBLE and len(body) >= 26:
        kind = int.from_bytes(body[24:26], "little")
    if kind not in (_INTEGERS, _FLOATS):
        _refuse(path, f"its samples are {_OTHERS.get(kind, f'of kind {kind}')}, not PCM or floating point")
    if not channels or block % channels or not 0 <= 8 * (block // channels) - bits < 8:
        _refuse(path, f"{channels} channels of {bits} bits do not fill {block} bytes")
    if not 1 <= rate <= _FASTEST:
        raise UserError(f"{path} has {rate} samples a second; 1 to {_FASTEST} are read")
    width = 8 * (block // channels)
    if width not in ((8, 16, 24, 32) if kind == _INTEGERS else (32, 64)):
        raise UserError(f"{path} has samples of {bits} bits; integers of 8 to 32 and numbers of 32 or 64 are read")
    return _Form(kind, channels, rate, block)


def _samples(data: bytes, form: _Form, path: str) -> np.ndarray:
    """Returns the samples of all channels in turn, float64, integers scaled to [-1, 1)."""
    width = form.block // form.channels
    if form.kind == _FLOATS:
        return np.frombuffer(data, f"<f{width}").astype(np.float64)
    if width == 1:
        return (np.frombuffer(data, "u1").astype(np.float64) - 128) / 128
    if width == 3:
        wide = np.zeros((len(data) // 3, 4), "u1")
        wide[:, 1:] = np.frombuffer(data, "u1").reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 2.0**31
    return np.frombuffer(data, f"<i{width}") / 2.0 ** (8 * width - 1)


def _refuse(path: str, fault: str) -> NoReturn:
    raise UserError(f"{path} is no wav file that is read, or a damaged one: {fault}")
