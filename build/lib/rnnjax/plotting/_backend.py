"""matplotlib, whatever MPLBACKEND says: pictures go to files, and no window is opened."""

import os

_named = os.environ.pop("MPLBACKEND", None)  # a name that matplotlib does not know would stop its import
try:
    import matplotlib as matplotlib
finally:
    if _named is not None:
        os.environ["MPLBACKEND"] = _named
