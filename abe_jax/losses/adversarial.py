"""Adversarial regressors between learners: what one knows of another is taken out of both."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers
from jaxtyping import Array, Bool, Float

from abe_jax.bounds import Amount, Width
from abe_jax.errors import ArgumentError, require
from abe_jax.losses import pairs
from abe_jax.losses.arguments import checked
from abe_jax.losses.batch import BatchEmbeddings, GlobalBatch, sizes_of
from abe_jax.losses.term import Parameter, Parameters, Term

VARIANTS = ("regressor", "activation")
HIGHEST = lax.Precision.HIGHEST
KERNEL = initializers.glorot_uniform()  # as the authors' public code starts its layers


@checked
def adversarial(
    features: Float[Array, "b *m c"],
    kernels: Sequence[Float[Array, "_ _"]],
    regressors: Mapping[str, Float[Array, "..."]],
    *,
    norm_weight: float = 1e5,
    variant: str = "regressor",
    mask: Bool[Array, " b"] | None = None,
) -> Float[Array, ""]:
    """How much of learner i a regressor finds in learner j, for each pair i < j.

    `features` are [b, m, c]; u_i = features_i W_i, W_i the kernel [c, d_i] of the learner's fully
    connected layer, without its bias. The features are held constant, so that of the network the
    kernels alone learn by this.

    "regressor"   -mean((u_i * g(u_j))^2) over images and the d_i numbers, g two fully connected
                  layers with a ReLU between them. The loss makes g find what is alike; the gradient
                  of u_i and u_j is reversed, so that the kernels make it hard to find. With it come
                  norm_weight (mean((|row|^2 - 1)^2) + max(0, |b|^2 - 1)) for both layers of each g,
                  and norm_weight mean((|row of W_i|^2 - 1)^2) for each learner, a row being what an
                  input unit has.
    "activation"  mean((u_i,k u_j,l)^2) over images, k and l, and norm_weight mean((|column of
                  W_i|^2 - 1)^2). There is no g, and nothing is reversed.

    `kernels` has one for each learner, or one that all share. `regressors` has, for each pair, the
    arrays that `Adversarial.parameters` declares. Images where `mask` is False are not there; with
    none there the norms alone are left. One learner has no pair. Computed in float32.

    Raises ArgumentError for an unknown `variant`, kernels that are not the features' or regressors
    that are missing.
    Source: Opitz et al., arXiv 1801.04815, the adversarial and the activation loss; the norms as in
    the authors' public code.
    """
    require("variant", variant, VARIANTS)
    kernels = _for_learners(features, kernels)
    here = jnp.ones(len(features), bool) if mask is None else mask
    x = lax.stop_gradient(pairs.without_absent(pairs.per_learner(features), here))
    u = [jnp.matmul(h, w, precision=HIGHEST) for h, w in zip(x, kernels, strict=True)]
    images = jnp.sum(here, dtype=jnp.float32)
    rows = 1 if variant == "regressor" else 0  # the axis that a norm is taken over
    total = norm_weight * sum((_norms(w, rows) for w in kernels), jnp.float32(0))
    for i, j in itertools.combinations(range(len(u)), 2):
        if variant == "activation":
            both = jnp.mean(u[i] ** 2, axis=1) * jnp.mean(u[j] ** 2, axis=1)
            total = total + pairs.ratio(jnp.sum(both), images)
            continue
        layers = [[_array(regressors, name) for name in layer] for layer in _names(i, j)]
        found = _regressed(reversed_gradient(u[j]), *layers)
        alike = jnp.mean((reversed_gradient(u[i]) * found) ** 2, axis=1)
        # A regressor's biases make something of rows that are not there, but u_i is 0 in them.
        total = total - pairs.ratio(jnp.sum(alike), images)
        for kernel, bias in layers:
            beyond = jnp.maximum(jnp.sum(bias**2) - 1.0, 0.0)
            total = total + norm_weight * (_norms(kernel, 1) + beyond)
    return total


def reversed_gradient(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x, whose gradient is that of -x (Ganin and Lempitsky, arXiv 1409.7495)."""
    return 2.0 * lax.stop_gradient(x) - x


def _regressed(x: Array, hidden: Sequence[Array], output: Sequence[Array]) -> Array:
    x = jax.nn.relu(jnp.matmul(x, hidden[0], precision=HIGHEST) + hidden[1][None])
    return jnp.matmul(x, output[0], precision=HIGHEST) + output[1][None]


def _norms(kernel: Float[Array, "c d"], axis: int) -> Float[Array, ""]:
    """mean((|row|^2 - 1)^2), of rows (what an input unit has) by axis 1 and of columns by 0."""
    return jnp.mean((jnp.sum(kernel**2, axis=axis) - 1.0) ** 2)


def _names(i: int, j: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """The arrays of the regressor that looks for learner i in learner j: kernel and bias, twice."""
    of = f"{j}_to_{i}"
    return (f"hidden_{of}", f"hidden_bias_{of}"), (f"output_{of}", f"output_bias_{of}")


def _array(regressors: Mapping[str, Array], name: str) -> Array:
    try:
        return jnp.asarray(regressors[name], jnp.float32)
    except KeyError:
        raise ArgumentError(
            "regressors", f"without {name!r}; Adversarial().parameters says what they are"
        ) from None


def _for_learners(features: Array, kernels: Sequence[Array]) -> list[Array]:
    """A float32 kernel for each learner."""
    if features.ndim != 3:
        raise ArgumentError("features", f"expected shape [b, m, c], not {list(features.shape)}")
    _, learners, channels = features.shape
    shared = learners if len(kernels) == 1 else 1
    if len(kernels) * shared != learners or any(w.shape[0] != channels for w in kernels):
        shapes = [list(w.shape) for w in kernels]
        raise ArgumentError(
            "kernels",
            f"of shapes {shapes} for features {list(features.shape)}; expected [c, d] for each "
            "learner, or one for all",
        )
    return [jnp.asarray(w, jnp.float32) for w in kernels] * shared


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversarial(Term):
    """What a regressor finds of one learner in another, taken out of both.

    It reads the network's pooled features and the kernels of its fully connected layers. The
    regressors are parameters of the term.
    """

    name: str = "adversarial"
    weight: Amount = 5e-5  # of the released run, whose norm_weight is large
    rate: Amount = 1.0  # multiplies the optimiser's rate for the regressors
    norm_weight: Amount = 1e5  # of what keeps the rows of layers at length 1, beside the loss
    hidden: Width = 512  # units of a regressor's first layer
    variant: str = "regressor"  # regressor | activation

    def __post_init__(self) -> None:
        super().__post_init__()
        require("variant", self.variant, VARIANTS)

    def parameters(self, embeddings: BatchEmbeddings, classes: int) -> dict[str, Parameter]:
        return dict(self._declared(sizes_of(embeddings)))

    def _declared(self, sizes: Sequence[int]) -> Iterator[tuple[str, Parameter]]:
        if self.variant == "activation":
            return
        for i, j in itertools.combinations(range(len(sizes)), 2):
            shapes = ((sizes[j], self.hidden), (self.hidden, sizes[i]))
            for (kernel, bias), shape in zip(_names(i, j), shapes, strict=True):
                yield kernel, Parameter(KERNEL, shape)
                yield bias, Parameter(initializers.zeros, shape[1:])

    def loss(self, batch: GlobalBatch, parameters: Parameters) -> Float[Array, ""]:
        of = functools.partial(adversarial, batch.features, batch.known_kernels(), parameters)
        return of(norm_weight=self.norm_weight, variant=self.variant, mask=batch.mask)
