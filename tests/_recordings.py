"""Wav files and archives of them, as bytes."""

from __future__ import annotations

import io
import tarfile
import wave
from collections.abc import Iterable


def wav(samples: int = 4) -> bytes:
    """Silence of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 8000, samples, "NONE", ""))
        out.writeframes(bytes(2 * samples))
    return file.getvalue()


def tarred(names: Iterable[str]) -> bytes:
    """A tar archive of recordings."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = len(wav())
            archive.addfile(info, io.BytesIO(wav()))
    return file.getvalue()
