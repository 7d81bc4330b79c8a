"""matplotlib, whatever MPLBACKEND says: pictures go to files, and no window is opened."""

import io
import os
import sys
from typing import Any

_named = os.environ.pop("MPLBACKEND", None)  # a name that matplotlib does not know would stop its import
try:
    import matplotlib as matplotlib
finally:
    if _named is not None:
        os.environ["MPLBACKEND"] = _named


def show_in_notebooks() -> None:
    """Lets a notebook show a Figure that is the last value of a cell, also where pyplot is not imported."""
    shell: Any = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if not hasattr(shell, "kernel"):
        return
    from matplotlib.figure import Figure

    formatters = shell.display_formatter.formatters
    if not any(Figure in formatter for formatter in formatters.values()):  # pyplot has not chosen its own yet
        formatters["image/png"].for_type(Figure, _as_png)


def _as_png(figure: Any) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
