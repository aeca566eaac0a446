"""The losses that can be named in a configuration.

In a notebook a function of one's own is a loss without any of this (`abe.losses.custom`). To add a
loss; 1 and 2 make it work, 3 to 5 are the project's:
  1. Write its file in abe_jax/losses/: a function of arrays, and a dataclass of its options.

         import dataclasses
         import jax.numpy as jnp
         from abe_jax.bounds import Amount
         from abe_jax.losses import pairs
         from abe_jax.losses.arguments import checked
         from abe_jax.losses.term import PairTerm

         @checked  # lists become arrays; a wrong shape is refused by the argument's name
         def my_loss(vectors, labels, *, margin=1.0, mask=None):  # [b, d] or [b, m, d], [b], [b]
             c = pairs.compared(vectors, labels, mask)  # distances [m, b, b], positive, negative
             near = pairs.over_learners(c.negative, c.distances.shape[0])
             return jnp.sum(pairs.masked_mean(pairs.hinge(margin, c.distances), near))

         @dataclasses.dataclass(frozen=True, kw_only=True)
         class MyLoss(PairTerm):  # or Term: without the option `label` (class | instance)
             name: str = "my_loss"
             margin: Amount = 1.0  # an option, named as the function's argument; its bounds

             def loss(self, batch, parameters):
                 labels = batch.identities(self.label)
                 return my_loss(batch.vectors, labels, mask=batch.mask, **self.options())

     The options in config files and their checks follow from the dataclass. A loss that learns
     arrays declares them in `parameters`: proxy_nca.py is a short example.
     A loss against class proxies, all or drawn, is best begun from cos_face.py; name it in
     OF_CLASSES of config/memory.py as well.
     `options()` leaves out what is no argument of the function: fields called `name`, `weight`,
     `label`, `rate` and `reads`.
  2. Add its row to TERMS below, for configs: `{"name": "my_loss", "margin": 2.0}`. Import function
     and term in abe_jax/losses/__init__.py and name both in `__all__` there, for notebooks:
     `losses.my_loss(vectors, labels)`, `losses.MyLoss(margin=2.0)`.
  3. Add its definition as a loop in float64 to tests/oracles_pairs.py (by cosines:
     oracles_cosines.py, with learned arrays: oracles_classes.py, over domains:
     oracles_domains.py). Add `*_rows(name, loop, {option: choices})` to LOSSES in
     tests/test_losses_properties.py, which then tests what every loss must hold; the class `Loss`
     there says what else a row takes. Every option has a default.
  4. Add it to OBJECTIVE in tests/step_cases.py, which test_step_devices.py trains on 1, 2, 4 and 8
     devices; a loss over domains to OVER_DOMAINS there and in tests/test_combinations.py. Where it
     reads and takes what another does, name it in ALIKE of tests/test_combinations.py. If it
     reads more than vectors, labels and mask (rows before L2 normalisation, features, image ids),
     say in EXTRA of tests/test_step_traffic.py what devices gather for it. test_step_hosts.py takes
     every loss of this table by itself, on two hosts of four devices.
  5. Name it in README's table of parts.
Steps 3 and 4 do not fit two kinds of loss, which have other tests:
  - One that reads a layer's kernel (adversarial.py) is listed in BOOSTING of tests/step_cases.py
    and in WITH_THEIR_NETWORK of test_combinations.py, excepted by its name in
    `test_every_loss_of_the_table_has_rows_here` of test_losses_properties.py, and has a test file
    of its own, as test_losses_adversarial.py.
  - One of what a network predicts (annotated.py) has a row in OF_PREDICTIONS below and in READS of
    config/annotated.py; its loop is in tests/oracles_annotated.py, its row in CASES of
    test_losses_annotated.py and in what `test_terms_take_predictions_and_annotations_of_the_batch`
    expects there, its term in TERMS of tests/inshop_data.py with a factor more in each of `stages`
    (test_config_annotated.py counts them).
Options of text are checked by `require` in `__post_init__`: see divergence.py.
"""

from abe_jax.losses.adversarial import Adversarial
from abe_jax.losses.annotated import Attributes, Category, Landmarks, Visibility
from abe_jax.losses.arc_face import ArcFace
from abe_jax.losses.boosted import Boosted
from abe_jax.losses.circle import Circle
from abe_jax.losses.clustering import Clustering
from abe_jax.losses.contrastive import Contrastive
from abe_jax.losses.cos_face import CosFace
from abe_jax.losses.cross_entropy import CrossEntropy
from abe_jax.losses.divergence import Divergence
from abe_jax.losses.domains import Scatter, Shuffle
from abe_jax.losses.fast_ap import FastAP
from abe_jax.losses.hard_share import HardShare
from abe_jax.losses.lifted_structure import LiftedStructure
from abe_jax.losses.margin import Margin
from abe_jax.losses.multi_similarity import MultiSimilarity
from abe_jax.losses.n_pairs import NPairs
from abe_jax.losses.norm_softmax import NormSoftmax
from abe_jax.losses.nt_xent import NTXent
from abe_jax.losses.proxy_anchor import ProxyAnchor
from abe_jax.losses.proxy_nca import ProxyNCA
from abe_jax.losses.recall_at_k import RecallAtK
from abe_jax.losses.smooth_ap import SmoothAP
from abe_jax.losses.soft_triple import SoftTriple
from abe_jax.losses.sup_con import SupCon
from abe_jax.losses.term import Term
from abe_jax.losses.triplet import Triplet

TERMS: dict[str, type[Term]] = {
    "contrastive": Contrastive,
    "triplet": Triplet,
    "margin": Margin,
    "hard_share": HardShare,
    "lifted_structure": LiftedStructure,
    "n_pairs": NPairs,
    "clustering": Clustering,
    "multi_similarity": MultiSimilarity,
    "circle": Circle,
    "sup_con": SupCon,
    "nt_xent": NTXent,
    "smooth_ap": SmoothAP,
    "fast_ap": FastAP,
    "recall_at_k": RecallAtK,
    "proxy_nca": ProxyNCA,
    "proxy_anchor": ProxyAnchor,
    "soft_triple": SoftTriple,
    "norm_softmax": NormSoftmax,
    "cos_face": CosFace,
    "arc_face": ArcFace,
    "cross_entropy": CrossEntropy,
    "divergence": Divergence,
    "boosted": Boosted,
    "adversarial": Adversarial,
    "scatter": Scatter,
    "shuffle": Shuffle,
    "landmarks": Landmarks,
    "visibility": Visibility,
    "category": Category,
    "attributes": Attributes,
}

# Of what a network predicts beside vectors, against the annotations of its images.
OF_PREDICTIONS = ("landmarks", "visibility", "category", "attributes")
