"""The properties that every loss has; a new loss joins by its rows in LOSSES."""

# NumPy arrays and lists are given where JAX arrays are annotated, as users give them.
# pyright: reportArgumentType=false, reportCallIssue=false

import dataclasses
import functools
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import oracles_classes
import oracles_cosines
import oracles_domains
import oracles_pairs
import pytest

from abe_jax import losses
from abe_jax.errors import ArgumentError
from abe_jax.losses.batch import PlainVectors

B, M, D = 8, 3, 4
LABELS = np.array([0, 0, 1, 1, 2, 3, 0, 4], np.int32)  # adjacent: two positive, two negative pairs


@dataclasses.dataclass(frozen=True)
class Loss:
    """A term called as (vectors, labels, mask=...), and the float64 loop that says what it is."""

    term: losses.Term
    name: str
    oracle: Callable
    rows_free: bool = True  # rows may be permuted one by one; False: in pairs, a class in its order
    used: tuple[int, ...] = tuple(range(B))  # rows of LABELS that the loss reads
    held_out: str = ""  # the oracle's name for the vectors of what has no gradient
    slow: bool = False  # tested with the slow tests

    def loss(self, vectors, labels, mask=None):
        """The term on a batch of two domains, each with classes of its own.

        tests/test_losses_domains.py has other domains.
        """
        given = {"domains": labels % 2, "key": jax.random.key(3), "parameters": learned(self.term)}
        return self.term(vectors, labels, mask=mask, **given)

    def by_oracle(self, vectors, labels, mask=None, **held_out):
        own = learned(self.term) | held_out
        return self.oracle(vectors=vectors, labels=labels, mask=mask, **own)


def learned(term):
    """Whatever arrays a term learns, drawn by their shapes."""
    rng, x = np.random.default_rng(7), np.zeros((B, M, D), np.float32)
    declared = term.parameters(PlainVectors(x, x), CLASSES)
    return {
        name: rng.normal(size=parameter.shape).astype(np.float32)
        for name, parameter in declared.items()
    }


def _rows(name, oracle, choices, *, fixed=None, only_of_term=(), **row):
    """A row for each choice of options; the oracle has those that are not `only_of_term`.

    `fixed` says of options whether they forbid rows in any order.
    """
    for chosen in itertools.product(*choices.values()):
        options = dict(zip(choices.keys(), chosen, strict=True))
        of_oracle = {name: value for name, value in options.items() if name not in only_of_term}
        yield Loss(
            term=losses.TERMS[name](**options),
            name="-".join([name, *map(str, chosen)]),
            oracle=functools.partial(oracle, **of_oracle),
            rows_free=fixed is None or not fixed(options),
            **row,
        )


def scatter_loop(vectors, labels, **options):
    return oracles_domains.scatter(vectors, labels % 2, **options)


def shuffle_loop(vectors, labels, **options):
    return oracles_domains.shuffle(vectors, labels, labels % 2, **options)


CLASSES = 9  # more than any batch here names
LOSSES = [
    *_rows(
        "contrastive",
        oracles.contrastive,
        {
            "pairs": ("all", "adjacent"),
            "reduction": ("sum_per_image", "mean", "mean_each", "mean_active"),
            "squared": (True, False),
        },
        fixed=lambda options: options["pairs"] == "adjacent",
    ),
    *_rows(
        "contrastive",
        oracles.contrastive,
        {
            "form": ("hadsell",),
            "pairs": ("all", "adjacent"),
            "reduction": ("mean_active",),
        },
        fixed=lambda options: options["pairs"] == "adjacent",
    ),
    *_rows(
        "divergence",
        oracles.divergence,
        {"reduction": ("sum", "mean_image", "mean", "mean_active"), "squared": (True, False)},
    ),
    *_rows("proxy_nca", oracles_classes.proxy_nca, {"scale": (1.0, 3.0)}),
    *_rows(
        "norm_softmax",
        oracles_classes.norm_softmax,
        {"temperature": (0.05, 0.5), "subsample": (0, 1)},  # 1: the batch's own classes alone
    ),
    *_rows("proxy_anchor", oracles_classes.proxy_anchor, {"subsample": (0, 1)}, slow=True),
    *_rows(
        "proxy_anchor", oracles_classes.proxy_anchor, {"margin": (0.3,), "scale": (4.0,)}, slow=True
    ),
    *_rows("cos_face", oracles_classes.cos_face, {"subsample": (0, 1)}, slow=True),
    *_rows("cos_face", oracles_classes.cos_face, {"margin": (0.1,), "scale": (8.0,)}, slow=True),
    *_rows("arc_face", oracles_classes.arc_face, {"subsample": (0, 1)}, slow=True),
    *_rows(
        "arc_face",
        oracles_classes.arc_face,
        {"margin": (1.2,), "scale": (8.0,), "centres": (1, 3)},  # of many angles beyond pi - 1.2
        slow=True,
    ),
    *_rows("soft_triple", oracles_classes.soft_triple, {"centres": (1, 10)}, slow=True),
    *_rows(
        "soft_triple",
        oracles_classes.soft_triple,
        {
            "centres": (2,),
            "scale": (5.0,),
            "gamma": (0.5,),
            "margin": (0.3,),
            "tau": (2.0,),
            "subsample": (0, 1),
        },
        slow=True,
    ),
    *_rows("cross_entropy", oracles_classes.cross_entropy, {"smoothing": (0.0, 0.3, 1.0)}),
    *_rows(
        "cross_entropy",
        oracles_classes.cross_entropy,
        {"smoothing": (0.3,), "smoothed": ("others",)},
    ),
    *_rows(
        "triplet",
        oracles_pairs.triplet,
        {
            "mining": ("all", "semi_hard", "batch_hard"),
            "reduction": ("mean_active", "mean"),
            "margin": (0.3,),
        },
    ),
    *_rows(
        "triplet",
        oracles_pairs.triplet,
        {"mining": ("all", "semi_hard", "batch_hard"), "soft": (True,), "squared": (True,)},
    ),
    *_rows(
        "margin",
        oracles_pairs.margin_loss,
        {"margin": (0.2,), "sampling": ("all",), "learned": (False,)},
        only_of_term=("sampling", "learned"),
    ),
    *_rows(
        "hard_share",
        oracles_pairs.hard_share,
        {"cascade": (False, True), "shares": ((1.0, 0.5, 0.2), (0.6, 0.5, 0.4))},
    ),
    *_rows("lifted_structure", oracles_pairs.lifted_structure, {"margin": (1.0,)}),
    *_rows(
        "n_pairs",
        oracles_pairs.n_pairs,
        {"length_weight": (0.0, 0.1)},
        fixed=lambda options: True,
        used=(0, 1, 2, 3),
    ),
    *_rows("clustering", oracles_pairs.clustering, {"margin": (1.0,), "sweeps": (0, 1)}),
    *_rows(
        "boosted",
        oracles_pairs.boosted,
        {"accumulate": ("sum", "average")},
        held_out="weighed_at",
    ),
    *_rows(
        "boosted",
        oracles_pairs.boosted,
        {
            "slope": (1.5,),
            "threshold": (0.3,),
            "cost": (3.0,),
            "start": (0.2,),
            "shrinkage": (0.5,),
            "negative_boost": (1.5,),
        },
        held_out="weighed_at",
    ),
    *_rows(
        "clustering",
        oracles_pairs.clustering,
        {"margin": (3.0,), "sweeps": (5,), "exchange": ("fixed",)},
    ),
    *_rows(
        "multi_similarity",
        oracles_cosines.multi_similarity,
        {"mined": (True, False), "alpha": (2.0, 5.0)},
        slow=True,
    ),
    *_rows(
        "circle",
        oracles_cosines.circle,
        {"margin": (0.25, 0.4), "gamma": (2.0, 8.0)},
        slow=True,
        held_out="weighed_at",
    ),
    *_rows("sup_con", oracles_cosines.sup_con, {"temperature": (0.1, 0.5)}, slow=True),
    *_rows(
        "nt_xent",
        oracles_cosines.nt_xent,
        {"temperature": (0.1, 0.5), "label": ("class",)},
        slow=True,
        only_of_term=("label",),
    ),
    # At lower temperatures the gradient is so steep that rounding shows in it.
    *_rows(
        "smooth_ap",
        oracles_cosines.smooth_ap,
        {"temperature": (0.05, 0.2), "includes_query": (False, True)},
        slow=True,
    ),
    *_rows("fast_ap", oracles_cosines.fast_ap, {"bins": (10, 5)}, slow=True),
    *_rows(
        "recall_at_k",
        oracles_cosines.recall_at_k,
        {"ks": ((1, 2, 4),), "temperatures": ((), (0.5, 1.0, 1.0)), "rank_temperature": (0.05,)},
        slow=True,
    ),
    *_rows(
        "recall_at_k",
        oracles_cosines.recall_at_k,
        {"ks": ((1,),), "rank_temperature": (0.2,), "includes_query": (True,)},
        slow=True,
    ),
    *_rows("scatter", scatter_loop, {}),
    *_rows("shuffle", shuffle_loop, {}),
]
every = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=[pytest.mark.slow] if case.slow else [])
        for case in LOSSES
    ],
)


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def batch(seed=0):
    """Unit vectors of which some pairs are inside the margin and some outside, squared or not."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(B, 1, D))
    return unit(centres + 0.7 * rng.normal(size=(B, M, D)))


@functools.cache
def compiled(case):
    """Loss and gradient in one program, shared by the tests of a case."""

    def of(vectors, labels, mask):
        return case.loss(vectors, labels, mask=mask)

    return jax.jit(jax.value_and_grad(of))


def run(case, vectors, labels=LABELS, mask=None):
    mask = np.ones(len(labels), bool) if mask is None else mask
    value, gradient = compiled(case)(jnp.asarray(vectors), jnp.asarray(labels), jnp.asarray(mask))
    assert value.shape == () and value.dtype == jnp.float32
    return float(value), np.asarray(gradient, np.float64)


@every
def test_value_is_the_oracles(case):
    for seed in range(3):
        x = batch(seed)
        assert run(case, x)[0] == pytest.approx(case.by_oracle(x, LABELS), rel=1e-5)


@every
def test_gradient_is_the_finite_difference(case):
    x = batch(1)
    towards = np.random.default_rng(2).normal(size=x.shape)
    held_out = {case.held_out: x} if case.held_out else {}
    expected = oracles.slope(
        lambda at: case.by_oracle(at, LABELS, **held_out), x.astype(np.float64), towards
    )
    assert abs(expected) > 1e-2
    assert (run(case, x)[1] * towards).sum() == pytest.approx(expected, rel=1e-4)


def _equal_pairs(x):
    y = x.copy()
    y[1], y[5], y[:, 1] = y[0], y[4], y[:, 0]  # a positive pair, a negative pair, two learners
    return y


def _all_equal(x):
    return np.broadcast_to(x[:1, :1], x.shape).copy()


def _zero(x):
    y = 0.9 * x  # a unit vector would lie at the margin itself, where "active" hangs on rounding
    y[0] = y[4, 1] = 0.0
    return y


SINGLES, ONE = np.arange(B, dtype=np.int32), np.zeros(B, np.int32)
NONE, FIRST = np.zeros(B, bool), np.arange(B) < 1
DEGENERATE = {
    "equal pairs": (_equal_pairs, LABELS, None),
    "collapse": (_all_equal, LABELS, None),
    "no positive": (batch, SINGLES, None),
    "no negative": (batch, ONE, None),
    "zero vector": (_zero, LABELS, None),
    "nothing there": (batch, LABELS, NONE),
    "one image there": (batch, LABELS, FIRST),
}


@every
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_batches_have_the_oracles_value_and_finite_gradients(case, kind):
    make, labels, mask = DEGENERATE[kind]
    x = batch() if make is batch else make(batch())
    value, gradient = run(case, x, labels, mask)
    # A root magnifies the rounding of a distance near 0, hence 1e-3 beside the relative bound.
    assert value == pytest.approx(case.by_oracle(x, labels, mask=mask), rel=1e-4, abs=2e-3)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() < 100
    if mask is NONE:
        assert value == 0 and not gradient.any()


@every
def test_half_precision_is_computed_in_float32(case):
    x = jnp.asarray(batch()).astype(jnp.bfloat16)
    value = jax.jit(case.loss)(x, jnp.asarray(LABELS))
    assert value.dtype == jnp.float32
    exact = case.by_oracle(np.asarray(x.astype(jnp.float32)), LABELS)
    assert float(value) == pytest.approx(exact, rel=1e-5)


@every
def test_order_of_images_does_not_matter(case):
    pairs = np.array([2, 0, 3, 1])
    order = np.stack([2 * pairs, 2 * pairs + 1], axis=1).ravel()
    order = np.array([5, 2, 7, 0, 1, 6, 3, 4]) if case.rows_free else order
    x = batch()
    (value, gradient), (permuted, rows) = run(case, x), run(case, x[order], LABELS[order])
    assert permuted == pytest.approx(value, rel=1e-6)
    bound = 1e-6 * max(1.0, np.abs(gradient).max())
    np.testing.assert_allclose(rows, gradient[order], atol=bound)


@every
def test_mask_equals_removal(case):
    x, mask = batch(), np.array([1, 1, 0, 0, 1, 1, 1, 1], bool)
    full = run(case, x)[0]
    for absent in (3.0, np.nan, np.inf):  # whatever padding holds
        y = np.where(mask[:, None, None], x, np.float32(absent))
        value, gradient = run(case, y, LABELS, mask)
        assert value == pytest.approx(case.by_oracle(x[mask], LABELS[mask]), rel=1e-5)
        assert np.isfinite(gradient).all() and not gradient[~mask].any()
    assert abs(value - full) > 1e-4


@every
def test_jit_equals_eager(case):
    x = batch()
    eager = case.loss(jnp.asarray(x), jnp.asarray(LABELS))
    assert run(case, x)[0] == pytest.approx(float(eager), rel=1e-6)


@every
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_not_hidden(case, value):
    for row in case.used:
        x = batch()
        x[row, 1, 2] = value
        assert not np.isfinite(run(case, x)[0])


def test_every_loss_of_the_table_has_rows_here():
    # On features and kernels: tests/test_losses_adversarial.py; of predictions, not of vectors:
    # tests/test_losses_annotated.py.
    expected = set(losses.TERMS) - {"adversarial"} - set(losses.OF_PREDICTIONS)
    assert {case.term.name for case in LOSSES} == expected
    for name, term in losses.TERMS.items():
        assert term().name == name


@pytest.mark.parametrize("name", losses.TERMS)
def test_no_option_is_without_its_bounds(name):
    term = losses.TERMS[name]
    for field in dataclasses.fields(term):
        if isinstance(field.default, str) and field.name != "name":
            wrong = "no such choice"
        elif isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            wrong = -2  # a cosine may be -1
        else:
            continue
        with pytest.raises(ArgumentError, match=f"^{field.name}: "):
            term(**{field.name: wrong})
