"""The command `python -m rnnjax.runs`."""

import sys

from rnnjax.runs import runs_command

if __name__ == "__main__":
    sys.exit(runs_command())
