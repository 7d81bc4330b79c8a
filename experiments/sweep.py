"""Runs a study of an experiment: the same command as `python -m rnnjax.studies`."""

from rnnjax.studies import EXPERIMENT, main

__all__ = ["EXPERIMENT", "main"]

if __name__ == "__main__":
    main()
