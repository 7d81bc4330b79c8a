"""The command `python -m rnnjax.studies`."""

from rnnjax.studies import main

if __name__ == "__main__":
    main()
