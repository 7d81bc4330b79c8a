"""One script a task: `python -m experiments.NAME`."""

import rnnjax  # noqa: F401  from here on, Ctrl-C ends a command quietly
