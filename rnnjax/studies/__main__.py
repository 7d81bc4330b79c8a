"""The command `python -m rnnjax.studies`."""

from rnnjax.studies import main

main()
