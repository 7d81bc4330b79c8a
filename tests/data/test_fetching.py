"""Laws of fetching: what comes is what was expected or nothing is kept; an archive never writes outside its folder."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest

from rnnjax import data
from rnnjax.base import UserError
from rnnjax.data import Remote
from rnnjax.data._fetching import REGISTRY

pytest.importorskip("pooch")

CONTENT = b"to be or not to be\n" * 1000


@pytest.fixture(scope="module")
def server():
    """A server on this machine that counts what it is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(404 if "missing" in self.path else 200)
            self.end_headers()
            self.wfile.write(CONTENT if "missing" not in self.path else b"")

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", asked
        httpd.shutdown()


def registry(server: str, **changes) -> dict[str, Remote]:
    """A registry of one file."""
    remote = Remote(f"{server}/a.txt", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    return {"a.txt": remote._replace(**changes)}


def test_a_file_comes_once_and_again_when_the_cache_is_damaged(server, tmp_path, monkeypatch):
    url, asked = server
    asked.clear()
    for _ in range(2):
        path = data.fetch("a.txt", str(tmp_path), registry(url))
        assert Path(path).read_bytes() == CONTENT and len(asked) == 1
    Path(path).write_bytes(b"something else")
    assert Path(data.fetch("a.txt", str(tmp_path), registry(url))).read_bytes() == CONTENT and len(asked) == 2
    monkeypatch.setenv("RNNJAX_CACHE", str(tmp_path))
    monkeypatch.setattr("rnnjax.data.fetch.__defaults__", ("", registry(url)))
    assert data.find("fetch:a.txt") == path and len(asked) == 2


FAULTS = {
    "another file": ({"sha256": "0" * 64}, "does not match the known hash"),
    "not there": ({"url": "{url}/missing"}, "404"),
    "too large": ({"size": 1000}, "sends more than the expected 1000 bytes"),
    "no server": ({"url": "http://127.0.0.1:9/a"}, "cannot fetch a.txt from http://127.0.0.1:9/a"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_not_expected_is_refused_and_not_kept(fault, server, tmp_path):
    changes, message = FAULTS[fault]
    changes = {k: v.format(url=server[0]) if isinstance(v, str) else v for k, v in changes.items()}
    with pytest.raises(UserError, match=message):
        data.fetch("a.txt", str(tmp_path), registry(server[0], **changes))
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_the_registry_has_what_lies_here():
    folder = Path(os.environ.get("RNNJAX_DATA", "../shared/data"))
    known = {
        "tinyshakespeare.txt": "tinyshakespeare/input.txt",
        "JSB_Chorales.mat": "polymusic/JSB_Chorales.mat",
        "Nottingham.mat": "polymusic/Nottingham.mat",
    }
    assert known.keys() == REGISTRY.keys()
    if not all((folder / path).exists() for path in known.values()):
        pytest.skip("tinyshakespeare and polymusic are not there: set RNNJAX_DATA")
    for name, path in known.items():
        content = (folder / path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == REGISTRY[name].sha256 and len(content) <= REGISTRY[name].size


def tarred(*members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    """A tar archive of members of their size in zeros."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


def member(name: str, size: int = 3, **attributes) -> tarfile.TarInfo:
    """A member of a tar archive."""
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def zipped(name: str, size: int = 3, link: bool = False) -> bytes:
    """A zip archive of one member."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16 if link else 0o644 << 16
        archive.writestr(info, bytes(size))
    return file.getvalue()


ARCHIVES = {
    "tar, above": (tarred(member("a/b"), member("../x")), r"the member '../x' would lie outside"),
    "tar, absolute": (tarred(member("/tmp/x")), "would lie outside"),
    "tar, link": (tarred(member("a", 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")), "is a link or a device"),
    "tar, device": (tarred(member("a", 0, type=tarfile.FIFOTYPE)), "is a link or a device"),
    "tar, too much": (tarred(member("a", 2000)), "holds 2000 bytes, more than the limit of 1000"),
    "tar, cut short": (tarred(member("a"), mode="w")[:514], "damaged"),
    "zip, above": (zipped("a/../../x"), "would lie outside"),
    "zip, another system": (zipped("c:x"), "would lie outside"),
    "zip, link": (zipped("a", link=True), "is a link"),
    "zip, too much": (zipped("a", 2000), "holds 2000 bytes"),
    "zip, damaged": (zipped("a", 500)[:-30], "not a tar or zip archive"),
    "a text": (b"to be", "not a tar or zip archive"),
}


@pytest.mark.parametrize("fault", ARCHIVES)
def test_an_archive_that_would_do_harm_leaves_nothing(fault, tmp_path):
    content, message = ARCHIVES[fault]
    (tmp_path / "archive").write_bytes(content)
    with pytest.raises(UserError, match=message):
        data.unpack(str(tmp_path / "archive"), str(tmp_path / "sub"), limit=1000)
    assert [p.name for p in tmp_path.rglob("*")] == ["archive"] and not (tmp_path.parent / "x").exists()


@pytest.mark.parametrize("content", [tarred(member("a/b", 5), member("c")), zipped("a/b", 5)])
def test_an_archive_is_unpacked_into_a_new_folder(content, tmp_path):
    (tmp_path / "archive").write_bytes(content)
    names = data.unpack(str(tmp_path / "archive"), str(tmp_path / "new"))
    assert "a/b" in names and (tmp_path / "new" / "a" / "b").read_bytes() == bytes(5)
    with pytest.raises(UserError, match="exists already"):
        data.unpack(str(tmp_path / "archive"), str(tmp_path / "new"))
