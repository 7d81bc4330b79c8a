"""Laws of recordings and pen strokes: by formulas of their own; what is damaged, hostile or too short is refused."""

from __future__ import annotations

import importlib
import io
import struct
import tarfile
import wave
import zipfile
from pathlib import Path

import _launching as launching  # noqa: F401  # finds the experiments
import jax
import numpy as np
import pytest

from rnnjax import app, data, tasks
from rnnjax.base import UserError
from rnnjax.tasks._strokes import PITCH, STEP

RATE = 8000


def wav(samples: np.ndarray, rate: int = RATE, width: int = 2) -> bytes:
    """The bytes of a file of samples in [-1, 1], `[n]` or `[n, channels]`."""
    file = io.BytesIO()
    full = np.round(np.asarray(samples) * (2.0 ** (8 * width - 1) - 1)) + (128 if width == 1 else 0)
    with wave.open(file, "wb") as out:
        out.setparams((1 if full.ndim == 1 else full.shape[1], width, rate, 0, "NONE", ""))
        out.writeframes(full.astype({1: "u1", 2: "<i2", 3: "<i2", 4: "<i4"}[width]).tobytes())
    return file.getvalue()


def tones(labels: str, seconds: float = 0.2) -> np.ndarray:
    """A tone for each digit, silence after it."""
    t = np.arange(int(seconds * RATE)) / RATE
    return np.concatenate([np.append(np.sin(2 * np.pi * (400 + 300 * int(d)) * t), 0 * t) for d in labels.split("_")])


def tarred(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_log_mel_features_are_those_of_a_loop_over_frames_and_frequencies():
    rng = np.random.default_rng(0)
    x, cut, mels = rng.normal(size=500), data.Frames(100, 40), 6
    found = jax.jit(lambda x: data.log_mel(x, RATE, mels, cut))(x.astype(np.float32))
    n, mel = 128, lambda f: 2595 * np.log10(1 + f / 700)
    t, f = np.arange(100), np.arange(65) * RATE / n
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * t / 100)
    edges = np.interp(
        np.linspace(0, mel(RATE / 2), mels + 2),
        mel(np.linspace(0, RATE / 2, 400_000)),
        np.linspace(0, RATE / 2, 400_000),
    )
    expected = []
    for start in range(0, 401, 40):
        wave_ = np.exp(-2j * np.pi * np.outer(f, t) / RATE) @ (x[start : start + 100] * hann)
        bands = [np.interp(f, edges[i : i + 3], [0, 1, 0]) @ np.abs(wave_) ** 2 for i in range(mels)]
        expected.append(np.log(np.array(bands) + 1e-6))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_samples_come_back_from_a_file_channels_as_their_mean(width):
    x = np.random.default_rng(0).uniform(-1, 1, (50, 2))
    found = data.decode_wav(wav(x, 11025, width), "a/0_1.wav")
    assert (found.name, found.rate, found.samples.dtype) == ("0_1", 11025, np.float32)
    np.testing.assert_allclose(found.samples, x.mean(1), atol=2.0 ** (2 - 8 * width) + 1e-6)


def riff(kind: int, bits: int, body: bytes, channels: int = 1, width: int = 0, chunks: bytes = b"") -> bytes:
    """A wav file of any kind, chunk by chunk; kind 0xFFFE is extensible and has the kind of `chunks` in it."""
    block = channels * (width or bits // 8)
    form = struct.pack("<HHIIHH", kind, channels, RATE, RATE * block, block, bits)
    inner = b"WAVEfmt " + struct.pack("<I", len(form) + len(chunks)) + form + chunks
    inner += b"LIST\3\0\0\0abc\0" + b"data" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def extensible(kind: int, bits: int) -> bytes:
    return struct.pack("<HHIH", 22, bits, 0, kind) + b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"


def integers(x: np.ndarray, width: int) -> bytes:
    whole = np.round(x * 2.0 ** (8 * width - 1)).astype("<i8")
    return whole.view("u1").reshape(-1, 8)[:, :width].tobytes()


X = np.array([0.5, -0.25, 0.125, -1.0])
FORMS = {
    "8 bits": riff(1, 8, (X * 128 + 128).astype("u1").tobytes()),
    "16 bits": riff(1, 16, integers(X, 2)),
    "20 bits in 3 bytes": riff(1, 20, integers(X, 3), width=3),
    "24 bits": riff(1, 24, integers(X, 3)),
    "32 bits": riff(1, 32, integers(X, 4)),
    "two channels": riff(1, 24, integers(np.repeat(X, 2), 3), 2),
    "float32": riff(3, 32, X.astype("<f4").tobytes()),
    "float64": riff(3, 64, X.astype("<f8").tobytes()),
    "extensible": riff(0xFFFE, 24, integers(X, 3), chunks=extensible(1, 24)),
    "extensible, 24 of 32 bits": riff(0xFFFE, 32, integers(X, 4), chunks=extensible(1, 24)),
    "extensible, float32": riff(0xFFFE, 32, X.astype("<f4").tobytes(), chunks=extensible(3, 32)),
    "a tag after the end": riff(1, 16, integers(X, 2)) + b"ID3\3 and more",
}


@pytest.mark.parametrize("form", FORMS)
def test_numbers_of_every_form_are_read_to_the_bit(form):
    assert data.decode_wav(FORMS[form], "a.wav").samples.tolist() == X.tolist()


@pytest.mark.parametrize("form", ["16 bits", "24 bits", "32 bits", "float32", "two channels"])
def test_scipy_reads_the_same(form):
    wavfile = pytest.importorskip("scipy.io.wavfile")
    _, theirs = wavfile.read(io.BytesIO(FORMS[form]))
    scale = 1 if theirs.dtype.kind == "f" else np.iinfo(theirs.dtype).max + 1.0
    ours = data.decode_wav(FORMS[form], "a.wav").samples
    np.testing.assert_array_equal(ours, (theirs / scale).reshape(len(ours), -1).mean(1).astype(np.float32))


FAULTS = {
    "no wav file": b"RIFF but nothing like it",
    "or a damaged one: it is empty": b"",
    "80 bytes of chunk 'data' announced, 30 there": wav(np.zeros(40))[:-50],
    "has no sample": wav(np.zeros(0)),
    "A-law": riff(6, 8, b"ab"),
    "mu-law": riff(7, 8, b"ab"),
    "of kind 85|MP3": riff(85, 16, b"ab"),
    "samples of 16 bits": riff(3, 16, b"ab"),
    "3 bytes of samples are no multiple of 2": riff(1, 16, b"abc"),
    "sample 2 is not finite": riff(3, 32, np.array([0, np.nan], "<f4").tobytes()),
    "sample 1 is not finite": riff(3, 64, np.array([1e300], "<f8").tobytes()),  # in float32
    "0 channels": riff(1, 16, b"ab", 0),
    "chunk 'data' comes twice": riff(1, 16, b"ab", chunks=b"").replace(b"LIST", b"data"),
    "begins with b'RIFX": riff(1, 16, b"ab").replace(b"RIFF", b"RIFX"),
    "begins with b'fLaC": b"fLaC" + bytes(30),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_is_damaged_or_of_another_kind_is_named(fault):
    with pytest.raises(UserError, match=f"a.wav.*{fault}"):
        data.decode_wav(FAULTS[fault], "a.wav")


def test_a_folder_a_tar_and_a_zip_hold_the_same_and_are_read_in_place(tmp_path, monkeypatch):
    files = {f"{name}.wav": wav(tones(name)) for name in ("1_0", "0_1", "0_0_1")}
    (tmp_path / "all" / "below").mkdir(parents=True)
    for name, content in files.items():
        (tmp_path / "all" / "below" / name).write_bytes(content)
    tar = tarred(tmp_path / "a.tar.gz", {"deep/" + name: content for name, content in files.items()} | {"README": b"x"})
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    parts = [data.recordings(str(path)) for path in (tmp_path / "all", tar, tmp_path / "a.zip")]
    assert sorted(tmp_path.rglob("*")) == before
    for part in parts:
        assert [r.name for r in part] == ["0_0_1", "0_1", "1_0"]
        np.testing.assert_array_equal(part[1].samples, parts[0][1].samples)


def refused(tmp_path: Path, files: dict[str, bytes], **given) -> str:
    """What the experiment says of an archive with such files."""
    module = importlib.import_module("experiments.speech")
    path = tarred(tmp_path / "a.tar.gz", files)
    config = app.Config({n: module.FLAGS[n].value for n in module.FLAGS} | {"data": str(path)} | given)
    with pytest.raises(UserError) as caught:
        module.load(config)
    return str(caught.value)


def test_what_cannot_be_learned_from_is_refused_by_name(tmp_path):
    good = {f"{n}.wav": wav(tones(n)) for n in ("0_1", "0_0", "1_0")}
    assert "would lie outside" in refused(tmp_path, good | {"../0_1.wav": wav(tones("0"))})
    assert "holds no wav file" in refused(tmp_path, {"README": b"x"})
    assert "recordings of 8000 and of 16000" in refused(tmp_path, good | {"0.wav": wav(tones("0"), 16000)})
    assert "'yes' is not named after its labels" in refused(tmp_path, good | {"yes.wav": wav(tones("0"))})
    assert "--test_first=7: 0 recordings to test on, 3" in refused(tmp_path, good, test_first=7)
    assert "0_1: 240 samples are less than a step of 4" in refused(tmp_path, good | {"0_1.wav": wav(np.zeros(240))})
    short = {"1_1_1.wav": wav(np.zeros(1400))}
    assert "1_1_1.wav: 3 labels need 5 frames (one each, a blank between two alike), and there are 4" in refused(
        tmp_path, good | short
    )


def test_strokes_have_frames_enough_end_within_their_room_and_lift_the_pen_between_letters():
    batch = jax.device_get(jax.jit(lambda key: tasks.words(1, 5).batch(key, 400))(jax.random.key(0)))
    n, steps = (batch.y > 0).sum(1), batch.x.valid.sum(1)
    assert set(n) == {1, 2, 3, 4, 5} and set(batch.y.ravel()) == set(range(len(tasks.LETTERS) + 1))
    assert (steps >= 2 * n).all() and (steps < batch.x.valid.shape[1]).all()
    way = STEP * batch.x.x[..., :2].cumsum(1)
    width = way[..., 0].max(1) - way[..., 0].min(1)
    assert (np.abs(width - PITCH * (n - 1)) < 1.8).all()
    up = np.diff(batch.x.x[..., 2] * batch.x.valid, axis=1, prepend=0) > 0
    assert (up.sum(1) <= n).all() and up.sum(1).mean() > 0.8 * (n - 1).mean()
    assert np.square(way[:, 1:] - way[:, :-1]).sum(-1).max() < (1.5 * STEP) ** 2
