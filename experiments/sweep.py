"""A study of an experiment: `python -m rnnjax.studies`, by the name it has beside the experiments."""

from rnnjax.studies import EXPERIMENT, main

__all__ = ["EXPERIMENT", "main"]

if __name__ == "__main__":
    main()
