"""What the tests' checker of shapes and types refuses, and that it looks at the package."""

import functools
from collections.abc import Iterator

import jax.numpy as jnp
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import Array, Float, TypeCheckError
from typecheck import checked, checker

from abe_jax.losses.contrastive import all_pairs

X, HERE = jnp.zeros((1, 4, 2)), jnp.ones(4, bool)


@checked(typechecker=checker)
def first(rows: Float[Array, "n d"], by: Float[Array, " n"], keep: float) -> Float[Array, "k d"]:
    return (rows * by[:, None])[: int(keep)]


@checked(typechecker=checker)
def cut(rows: Float[Array, "n d"], keep: int) -> Float[Array, "n d"]:
    return rows[:keep]


def test_an_axis_has_one_length_in_a_call_and_another_in_the_next() -> None:
    for n in (3, 5):
        assert first(jnp.ones((n, 2)), jnp.ones(n), 2).shape == (2, 2)
        assert cut(jnp.ones((n, 2)), n).shape == (n, 2)
    with pytest.raises(BeartypeCallHintViolation, match="by="):
        first(jnp.ones((3, 2)), jnp.ones(4), 2)
    with pytest.raises(BeartypeCallHintViolation, match="return"):
        cut(jnp.ones((3, 2)), 2)
    with pytest.raises(BeartypeCallHintViolation, match="keep="):
        cut(jnp.ones((3, 2)), "2")


@checked(typechecker=checker)
def one_by_one(rows: Float[Array, "n d"]) -> Iterator[Array]:
    yield from rows


def test_a_generator_is_called_in_a_context_of_its_own() -> None:
    @checked(typechecker=checker)
    def of_others(rows: Float[Array, "n d"]) -> Float[Array, "n d"]:
        return rows + functools.reduce(jnp.add, one_by_one(jnp.ones((5, 1))))[None]

    assert of_others(jnp.zeros((3, 1))).tolist() == [[5]] * 3
    with pytest.raises(TypeCheckError, match="rows"):
        one_by_one(jnp.ones(3))


def test_functions_of_the_package_are_checked() -> None:
    all_pairs(X, jnp.zeros(4, int), HERE)
    with pytest.raises(BeartypeCallHintViolation, match="labels="):
        all_pairs(X, jnp.zeros(5, int), HERE)
    with pytest.raises(BeartypeCallHintViolation, match="labels="):
        all_pairs(X, jnp.zeros(4), HERE)
