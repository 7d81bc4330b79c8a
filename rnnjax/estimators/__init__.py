"""Estimators of gradients: backward, forward, and from values alone."""

from rnnjax.estimators.backward import backprop as backprop
from rnnjax.estimators.backward import lookback as lookback
from rnnjax.estimators.base import EXAMPLES as EXAMPLES
from rnnjax.estimators.base import Estimate as Estimate
from rnnjax.estimators.base import Estimator as Estimator
from rnnjax.estimators.base import Grad as Grad
from rnnjax.estimators.base import Init as Init
from rnnjax.estimators.base import duration_of as duration_of
from rnnjax.estimators.base import in_windows as in_windows
from rnnjax.estimators.base import initial as initial
from rnnjax.estimators.base import keys_of as keys_of
from rnnjax.estimators.base import score as score
from rnnjax.estimators.base import size as size
from rnnjax.estimators.base import windows as windows
from rnnjax.estimators.buckets import bucketed as bucketed
from rnnjax.estimators.chance import anneal as anneal
from rnnjax.estimators.chance import cooling as cooling
from rnnjax.estimators.chance import score_function as score_function
from rnnjax.estimators.directions import es as es
from rnnjax.estimators.directions import forward as forward
from rnnjax.estimators.directions import nres as nres
from rnnjax.estimators.directions import pes as pes
from rnnjax.estimators.rules import RULES as RULES
from rnnjax.estimators.rules import bptt as bptt
from rnnjax.estimators.rules import tbptt as tbptt
