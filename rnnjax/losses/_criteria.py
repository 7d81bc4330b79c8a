"""Which metrics a run can be judged by, and which direction of each is better: one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from rnnjax.base._arguments import check_text

# Whether the higher value of a metric is the better one.
HIGHER_IS_BETTER: Mapping[str, bool] = {
    "loss": False,
    "bits": False,
    "perplexity": False,
    "error": False,
    "accuracy": True,
    "exact": True,
    "f1": True,
    "bleu": True,
}


class Criterion(NamedTuple):
    """A metric to judge a run by, and its direction.

    Attributes:
      metric: its name, without "valid_".
      higher: whether the higher value is the better one.
    """

    metric: str
    higher: bool

    def cost(self, value: Any) -> Any:
        """Returns the value, negated if higher is better, so that the lowest cost is the best; it is its own inverse.

        Example:
          >>> criterion("accuracy").cost(0.75), criterion("loss").cost(0.75)
          (-0.75, 0.75)
        """
        return -value if self.higher else value

    def __str__(self) -> str:
        return f"{self.metric}, {'higher' if self.higher else 'lower'} is better"


def criterion(text: str) -> Criterion:
    """Returns the criterion of a metric by name: its direction is that of the table `HIGHER_IS_BETTER`.

    Args:
      text: the name of a metric; max:NAME or min:NAME says the direction itself.

    Raises:
      ValueError: the table lacks the metric, and no direction is given.

    Example:
      >>> print(criterion("accuracy"))
      accuracy, higher is better
      >>> criterion("min:distance")
      Criterion(metric='distance', higher=False)
      >>> criterion("distance")
      Traceback (most recent call last):
      ValueError: write max:distance or min:distance: which is better is known of loss, bits, perplexity, error,
      accuracy, exact, f1, bleu
    """
    check_text("criterion: text", text)
    way, colon, name = text.partition(":")
    if colon and name and way in ("max", "min"):
        return Criterion(name, way == "max")
    if text not in HIGHER_IS_BETTER:
        known = ", ".join(HIGHER_IS_BETTER)
        plain = " ".join((name if colon else text).split())
        raise ValueError(f"write max:{plain} or min:{plain}: which is better is known of {known}")
    return Criterion(text, HIGHER_IS_BETTER[text])
