"""The command `python -m rnnjax.compare`."""

import sys

from rnnjax.compare import compare_command

if __name__ == "__main__":
    sys.exit(compare_command())
