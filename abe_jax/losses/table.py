"""The losses that can be named in a configuration.

How a loss joins:
  1. Its file in abe_jax/losses/: the pure function, `@checked`, and the dataclass of its options, a
     `Term` or `PairTerm` whose `loss` calls the function (and whose `parameters` declares what it
     learns). From the dataclass follow the options in config files and their checks.
  2. Its row in TERMS below, and its two names in abe_jax/losses/__init__.py.
  3. Its row in tests/test_losses_properties.py, with a loop in float64 that says what it is. The
     properties that every loss has are then tested; a row missing there fails a test.
"""

from abe_jax.losses.clustering import Clustering
from abe_jax.losses.contrastive import Contrastive
from abe_jax.losses.cross_entropy import CrossEntropy
from abe_jax.losses.divergence import Divergence
from abe_jax.losses.domains import Scatter, Shuffle
from abe_jax.losses.lifted_structure import LiftedStructure
from abe_jax.losses.margin import Margin
from abe_jax.losses.n_pairs import NPairs
from abe_jax.losses.norm_softmax import NormSoftmax
from abe_jax.losses.proxy_nca import ProxyNCA
from abe_jax.losses.term import Term
from abe_jax.losses.triplet import Triplet

TERMS: dict[str, type[Term]] = {
    "contrastive": Contrastive,
    "triplet": Triplet,
    "margin": Margin,
    "lifted_structure": LiftedStructure,
    "n_pairs": NPairs,
    "clustering": Clustering,
    "proxy_nca": ProxyNCA,
    "norm_softmax": NormSoftmax,
    "cross_entropy": CrossEntropy,
    "divergence": Divergence,
    "scatter": Scatter,
    "shuffle": Shuffle,
}
