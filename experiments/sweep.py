"""A study of an experiment: `python -m rnnjax.studies`, under the name it has beside the experiments."""

from rnnjax.studies import main

if __name__ == "__main__":
    main()
