"""The command `python -m rnnjax.studies`."""

from rnnjax.studies import run_study

if __name__ == "__main__":
    run_study()
