"""Decodes bytes to text in one way for all readers: byte order marks are dropped, line ends are unified."""

from __future__ import annotations

import codecs
import re

from rnnjax.base import UserError
from rnnjax.base._arguments import check_text

UTF8 = "utf-8"
# The new lines of Unicode: CR LF, CR, NEL, LINE SEPARATOR, PARAGRAPH SEPARATOR. Form feeds do not end a line.
_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
MARKS = (
    (codecs.BOM_UTF8, UTF8),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark is a prefix of this one
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_PROBE = 4096  # characters that are searched for zeros


def _unify_line_ends(text: str) -> str:
    """Returns a text with every line end as a line feed.

    Example:
      >>> _unify_line_ends("to\\r\\nbe\\u2028or\\x85not")
      'to\\nbe\\nor\\nnot'
    """
    return _ENDS.sub("\n", text)


def decode_text(content: bytes, path: str, encoding: str = UTF8, feeds: bool = False) -> str:
    """Decodes bytes to text without a byte order mark, with line feeds as line ends.

    Args:
      content: the bytes.
      path: of the file, for messages.
      encoding: its name in Python; a byte order mark takes precedence.
      feeds: whether a text with line feeds keeps all other line ends as they are.

    Raises:
      UserError: the encoding is unknown, or a line, which is named, does not have it.

    Example:
      >>> decode_text(b"\\xef\\xbb\\xbfto\\r\\nbe", "a.txt"), decode_text(b"caf\\xe9", "a.txt", "latin-1")
      ('to\\nbe', 'café')
    """
    check_text("encoding", encoding)
    mark, name = next(((m, n) for m, n in MARKS if content.startswith(m)), (b"", encoding))
    body = content.removeprefix(mark)
    try:
        text = body.decode(name)
    except LookupError as error:
        raise UserError(f"--encoding={encoding}: there is no such encoding of text") from error
    except UnicodeDecodeError as error:
        before = _unify_line_ends(body[: error.start].decode(name, "replace")).split("\n")
        byte = len(before[-1].encode(name, "replace")) + 1
        raise UserError(
            f"{path}, line {len(before)}: not {name.upper()} text (byte {byte} of the line): "
            "--encoding sets another one, such as latin-1"
        ) from error
    except ValueError as error:
        raise UserError(f"cannot read {path}: it is not {name.upper()} text ({error})") from error
    if name == UTF8 and text[:_PROBE].count("\0") * 4 > len(text[:_PROBE]):
        raise UserError(f"{path} is full of zero bytes: if it is UTF-16, give --encoding=utf-16-le or utf-16-be")
    return text if feeds and "\n" in text else _unify_line_ends(text)
