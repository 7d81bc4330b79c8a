"""Runs a study of an experiment: the same command as `python -m rnnjax.studies`."""

from rnnjax.studies import EXPERIMENT, run_study

__all__ = ["EXPERIMENT", "run_study"]

if __name__ == "__main__":
    run_study()
