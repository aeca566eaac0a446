"""The training step of single head, M-heads and ABE-M, against a matrix product's speed.

    pytest benchmarks/test_step.py            convnet, 32 px, batch 32, float32
    pytest benchmarks/test_step.py --full     GoogLeNet, 224 px, batch 64, bfloat16 and float32

Floating-point operations are counted, not measured: for an image, 2 for each multiply-add, and 3
times the forward pass's multiply-adds (`python -m abe_jax.complexity`), for the pass itself and
the gradients by maps and by weights. All else, such as pooling, losses, optimiser, counts nothing.
"""

import math

import jax
import numpy as np
import pytest
from results import Table, number
from training import (
    SYSTEMS,
    configuration,
    forward_multiply_adds,
    matrix_product,
    model_multiply_adds,
    random_batch,
    random_state,
    step_multiply_adds,
    train_step,
)

from abe_jax.comparison import timing
from abe_jax.config import Config
from abe_jax.training import step

CEILING = "ceiling"
SIDE = {False: 1024, True: 8192}  # of the ceiling's square matrices, by --full
HEAD = (
    "system",
    "M",
    "ms a step",
    "time / single",
    "images/s",
    "forward MMAC/image",
    "GFLOP/s",
    "share of ceiling",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both compute types with --full; bfloat16 has no fast products on most CPUs."""
    if "compute" in metafunc.fixturenames:
        computes = ["bfloat16", "float32"] if metafunc.config.getoption("full") else ["float32"]
        metafunc.parametrize("compute", computes)


def operations(made: Config) -> int:
    """Floating-point operations of one training step by the rule above."""
    return 2 * 3 * made.train.batch * model_multiply_adds(made)


def test_training_step(full: bool, compute: str, rounds: int, tables: list[Table]) -> None:
    systems = {
        f"{kind} {m}": configuration(kind, m, full=full, compute=compute) for kind, m in SYSTEMS
    }
    steps = {
        name: timing.chained(train_step(made), random_state(made), random_batch(made))
        for name, made in systems.items()
    }
    product = matrix_product(SIDE[full], compute)
    seconds = timing.medians({**steps, CEILING: product}, rounds)
    for name, run in steps.items():
        metrics = step.fetch(run()[1])
        assert all(map(math.isfinite, metrics.values())), (name, metrics)
    assert min(seconds.values()) > 0
    ceiling = 2 * SIDE[full] ** 3 * jax.device_count() / seconds[CEILING]
    rows = [
        row(made, seconds[name], seconds["single 1"], ceiling) for name, made in systems.items()
    ]
    tables.append(
        Table(
            title=title(systems["single 1"]),
            note=note(ceiling, SIDE[full], rounds),
            head=HEAD,
            rows=rows,
        )
    )


def row(made: Config, seconds: float, base: float, ceiling: float) -> tuple[str, ...]:
    """One system's line of the table."""
    rate = operations(made) / seconds
    return (
        made.model.kind,
        str(made.model.learners),
        number(1e3 * seconds),
        f"{seconds / base:.2f}",
        number(made.train.batch / seconds),
        number(model_multiply_adds(made) / 1e6),
        number(rate / 1e9),
        f"{100 * rate / ceiling:.1f} %",
    )


def title(made: Config) -> str:
    """What all rows have in common."""
    return (
        f"Training step: {made.model.backbone}, {made.data.size} px, batch {made.train.batch}, "
        f"{made.model.dim} dimensions in all, {made.model.compute}"
    )


def note(ceiling: float, side: int, rounds: int) -> str:
    """How to read the table."""
    return (
        f"Medians over {rounds} interleaved rounds, the batch's way to the device included. "
        "GFLOP/s: 2 x 3 x the forward multiply-adds (MAC) of a batch, by the second. Ceiling: "
        f"{number(ceiling / 1e9)} GFLOP/s, a {side} x {side} matrix product of the same type and "
        "default precision in the same rounds, times the number of devices."
    )


@pytest.mark.parametrize(("kind", "learners"), SYSTEMS)
def test_counted_operations_are_those_of_the_step(kind: str, learners: int) -> None:
    made = configuration(kind, learners, full=False, compute="float32")
    counted = made.train.batch * model_multiply_adds(made)
    assert forward_multiply_adds(made) == counted
    # The rule's 3, less the gradient by the images' pixels, which no step computes.
    assert 2 * counted < step_multiply_adds(made) <= 3.1 * counted


def test_bfloat16_step_agrees_with_float32() -> None:
    found = {}
    for compute in ("float32", "bfloat16"):
        made = configuration("attention", 2, full=False, compute=compute)
        _, metrics = train_step(made)(random_state(made), random_batch(made))
        found[compute] = step.fetch(metrics)
    assert found["bfloat16"] != found["float32"]
    for name, value in found["float32"].items():
        np.testing.assert_allclose(found["bfloat16"][name], value, rtol=0.1, err_msg=name)
