"""The terms that an objective is made of: every loss with its options."""

import dataclasses

from abe_jax.bounds import Amount, Natural, Share, Temperature


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfPairs:
    """What every loss between images of a batch has in common."""

    name: str
    weight: Amount = 1.0
    label: str = "class"  # class | instance: what makes two rows of a batch a positive pair


@dataclasses.dataclass(frozen=True, kw_only=True)
class Contrastive(OfPairs):
    """Positive pairs drawn together, negative ones pushed out of a margin."""

    name: str = "contrastive"
    margin: Amount = 1.0
    squared: bool = True  # squared Euclidean distance inside the hinge
    pairs: str = "all"  # all | adjacent (rows 2i and 2i+1, as the sampler `pairs` lays them)
    reduction: str = "mean_active"  # mean_active | mean | mean_each | sum_per_image


@dataclasses.dataclass(frozen=True, kw_only=True)
class Triplet(OfPairs):
    """An anchor nearer to its positive than to its negative, by a margin."""

    name: str = "triplet"
    mining: str = "all"  # all | semi_hard | batch_hard
    margin: Amount = 0.2
    soft: bool = False  # softplus of the difference in place of the hinge; the margin is not used
    squared: bool = False
    reduction: str = "mean_active"  # mean_active | mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class Margin(OfPairs):
    """Positives within beta - margin, negatives beyond beta + margin, beta learned."""

    name: str = "margin"
    margin: Amount = 0.2  # alpha of the paper
    beta: Amount = 1.2  # where it starts
    learned: bool = True
    rate: Amount = 1.0  # multiplies the optimiser's rate for beta
    sampling: str = "distance_weighted"  # distance_weighted | all
    numerics: str = "row_maximum"  # row_maximum | global_maximum: see losses/distance_weighted.py
    replacement: bool = True  # an anchor's negatives are drawn independently; False: all different
    nearest: Amount = 0.5  # distances below count as this
    farthest: Amount = 1.4  # negatives from here on are not drawn


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiftedStructure(OfPairs):
    """Each positive pair against all negatives of both its ends, on the embedding before L2."""

    name: str = "lifted_structure"
    margin: Amount = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class NPairs(OfPairs):
    """One positive against the positives of all other classes, as a softmax."""

    name: str = "n_pairs"
    length_weight: Amount = 0.0  # weight of the embeddings' squared lengths


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clustering(OfPairs):
    """The clustering that the labels give, scored above every other by a margin."""

    name: str = "clustering"
    margin: Amount = 1.0  # gamma of the paper
    sweeps: Natural = 1  # exchanges of every medoid after the greedy search


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProxyNCA:
    """Each image nearer to the proxy of its class than to all other proxies."""

    name: str = "proxy_nca"
    weight: Amount = 1.0
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    scale: Amount = 3.0  # length of vectors and proxies


@dataclasses.dataclass(frozen=True, kw_only=True)
class NormSoftmax:
    """Cross-entropy over cosines with one proxy for each class."""

    name: str = "norm_softmax"
    weight: Amount = 1.0
    rate: Amount = 1.0  # multiplies the optimiser's rate for the proxies
    temperature: Temperature = 0.05
    subsample: Natural = 0  # classes compared with at a step, the batch's own always; 0: all


@dataclasses.dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """A linear classifier on the un-normalised embedding."""

    name: str = "cross_entropy"
    weight: Amount = 1.0
    rate: Amount = 1.0  # multiplies the optimiser's rate for the classifier
    smoothing: Share = 0.0  # of the target, spread evenly over all classes


@dataclasses.dataclass(frozen=True, kw_only=True)
class Divergence:
    """The vectors that different learners give one image, pushed out of a margin."""

    name: str = "divergence"
    weight: Amount = 1.0
    margin: Amount = 1.0
    squared: bool = True
    reduction: str = "mean"  # mean | mean_active | mean_image | sum


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scatter:
    """The images of each domain spread around its centre."""

    name: str = "scatter"
    weight: Amount = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shuffle(OfPairs):
    """Other domains drawn nearer than the other classes of an image's own domain."""

    name: str = "shuffle"


Term = (
    Contrastive
    | Triplet
    | Margin
    | LiftedStructure
    | NPairs
    | Clustering
    | ProxyNCA
    | NormSoftmax
    | CrossEntropy
    | Divergence
    | Scatter
    | Shuffle
)
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
