"""Credit assignment: Cell -> Cell with another derivative and the same values.

One identity covers the family: the incoming carry, with a derivative J in the weights (`attached`).

    J = 0                          truncation
    J exact                        RTRL
    J masked                       SnAp
    J random and of low rank       UORO, KF-RTRL, optimal Kronecker sums
    J past the recurrent matrix    e-prop, RFLO

The wrapped cell carries J beside the carry, so that holds, restarts, chunks and batches treat both alike.
"""

from rnnjax.credit.exact import Influenced as Influenced
from rnnjax.credit.exact import rtrl as rtrl
from rnnjax.credit.factored import uoro as uoro
from rnnjax.credit.influence import NotAdmitted as NotAdmitted
from rnnjax.credit.influence import attached as attached
from rnnjax.credit.kronecker import kf_rtrl as kf_rtrl
from rnnjax.credit.kronecker import kronecker_sum as kronecker_sum
from rnnjax.credit.local import eprop as eprop
from rnnjax.credit.local import rflo as rflo
from rnnjax.credit.sparse import snap as snap
from rnnjax.credit.truncation import random_truncate as random_truncate
from rnnjax.credit.truncation import truncate as truncate
