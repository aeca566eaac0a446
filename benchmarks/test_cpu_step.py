"""Training steps on a CPU beside PyTorch's, in turns.

    pytest benchmarks/test_cpu_step.py                      small networks
    pytest benchmarks/test_cpu_step.py --full --rounds 5    224 px, batch 16: some ten minutes

The same networks, losses and optimiser on both sides (torch_ensemble.py, torch_losses.py), float32,
PyTorch in channels-last. Why one is slower shows test_convolutions.py, kernel by kernel.
"""

import os
import statistics
import time

import pytest
from gpu_arms import FULL, SMALL, Arm
from results import Table, number, times_of
from training import random_batch, random_state, train_step

from abe_jax.comparison import timing

_FULL = ("train.batch=16", "data.classes=98")
_GOOGLENET = ("model.norm=none", *_FULL)  # without response normalisation
ARMS = {
    False: SMALL.paper[::2],
    True: (
        Arm(name="GoogLeNet, single", config="cars196_single.py", overrides=_GOOGLENET),
        Arm(name="GoogLeNet, ABE-8", config="cars196_abe.py", overrides=_GOOGLENET),
        Arm(name="ResNet-50", config="normsoftmax_cars196.py", overrides=_FULL),
        Arm(
            name="EfficientNet-Lite0, ABE-8",
            config="cars196_abe.py",
            overrides=(*FULL.others[0].overrides, *_FULL),
        ),
    ),
}
HEAD = ("step", "first call s", "ms", "PyTorch ms", "time / PyTorch")


def test_steps_beside_pytorch(full: bool, rounds: int, tables: list[Table]) -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(os.cpu_count() or 1)
    note = (
        f"Medians over {rounds} interleaved rounds, {torch.get_num_threads()} threads, float32; "
        f"PyTorch {torch.__version__} in channels-last, not compiled. `time / PyTorch`: the median "
        "of the rounds' ratios, the least and the most. First call: with compilation, or the cache."
    )
    rows = [row(arm, rounds) for arm in ARMS[full]]
    batch = 16 if full else 8
    title = f"Training steps on a CPU beside PyTorch's, batch {batch}"
    tables.append(Table(title=title, note=note, head=HEAD, rows=rows))


def row(arm: Arm, rounds: int) -> tuple[str, ...]:
    """One network's step on both sides, which have as many parameters."""
    import gpu_jax
    import gpu_torch
    import jax
    from torch_losses import Facts

    made = gpu_jax.loaded(arm, "float32")
    state = random_state(made)
    model = sum(x[0].size for x in jax.tree.leaves(state.params["model"]))
    peer = gpu_torch.Step(Facts(**gpu_jax.facts(arm, made)), compiled=False)
    assert peer.parameters == model
    ours = timing.chained(train_step(made), state, random_batch(made))
    start = time.perf_counter()
    jax.block_until_ready(ours())
    first = time.perf_counter() - start
    found = timing.interleaved({"ours": ours, "theirs": lambda: peer().item()}, rounds)
    mine, theirs = found["ours"], found["theirs"]
    medians = (number(1e3 * statistics.median(times)) for times in (mine, theirs))
    return (arm.name, number(first), *medians, times_of(mine, theirs))
