"""What a training step sends, counted in its compiled program: gradients, embeddings, no more."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import device_traffic as step_of
import pytest
from processes import ROOT, environment

from abe_jax.losses import TERMS
from abe_jax.training import traffic
from abe_jax.training.traffic import Exchange, Links

DEVICES = 8

# Bytes of rows that are gathered, of the whole global batch.
B = step_of.ROWS
EMBEDDINGS = 4 * B * step_of.LEARNERS * step_of.DIM
LABELS, MASK = 4 * B, B
ALWAYS = (EMBEDDINGS, LABELS, MASK)  # what a step's own metrics read, under any loss
# What a loss reads beside the vectors: the rows before L2 normalisation or before the neck, the
# pooled features, image ids; predictions and what they are compared with.
FEATURES, IDS = 4 * B * step_of.LEARNERS * step_of.CHANNELS, 4 * B
POINTS, OF_POINTS = 4 * B * step_of.POINTS * 3, 4 * B * step_of.POINTS * 2
LOGITS = 4 * B * step_of.CLASSES
EXTRA = {
    "contrastive, instance": (IDS,),
    "triplet, before_neck": (EMBEDDINGS,),
    "lifted_structure": (EMBEDDINGS,),
    "n_pairs": (EMBEDDINGS,),
    "nt_xent": (IDS,),
    "cross_entropy": (EMBEDDINGS,),
    "adversarial": (FEATURES,),
    "adversarial, activation": (FEATURES,),
    "landmarks": (OF_POINTS, POINTS),
    "visibility": (OF_POINTS, POINTS),
    "category": (LOGITS, 4 * B),
    "attributes": (LOGITS, B * step_of.CLASSES),
}
# The parts of the network that learn by a loss; XLA drops gradients that are zero by themselves.
LEARN = {
    "triplet, before_neck": ("encoder", "head"),
    "landmarks": ("encoder", "said"),
    "visibility": ("encoder", "said"),
    "category": ("encoder", "said"),
    "attributes": ("encoder", "said"),
}
PARTS = ("encoder", "head", "neck", "said")
KERNELS = 4 * step_of.LEARNERS * step_of.CHANNELS * step_of.DIM  # what the adversarial terms move


def counted(data: Path, *what: object, devices: int = DEVICES) -> Any:
    own = environment(data, devices=devices, quick=True)  # what is sent is decided before
    script = ROOT / "tests" / "device_traffic.py"
    run = subprocess.run(
        [sys.executable, str(script), *map(str, what)],
        env={**own, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return json.loads(run.stdout)


def sizes(exchanges: Sequence[Any], kind: str) -> list[int]:
    """Bytes of each exchange of a kind, rising; one in a loop as often as it runs."""
    made = [Exchange(*one) for one in exchanges]
    return sorted(size for own, size, times in made if own == kind for _ in range(times))


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [1, 4])
def test_a_step_sends_gradients_and_embeddings_and_what_its_loss_reads(
    chunks: int, tmp_path: Path
) -> None:
    """All kinds of exchanges are counted, and so are those of each chunk: there are none."""
    found = counted(tmp_path, chunks)
    assert {name.split(",")[0] for name in found} == TERMS.keys()
    for name, step in found.items():
        exchanges, parts = step["exchanges"], step["parts"]
        learn = LEARN.get(name, ("encoder", "head", "neck"))
        gradients = parts["objective"] + sum(parts[part] for part in learn)
        if name.startswith("adversarial"):
            gradients = parts["objective"] + KERNELS
        if chunks > 1:  # a loop adds up zeros as well
            gradients = parts["objective"] + sum(parts[part] for part in PARTS)
        assert {kind for kind, *_ in exchanges} == {"all-gather", "all-reduce"}, name
        assert sizes(exchanges, "all-gather") == sorted([*ALWAYS, *EXTRA.get(name, ())]), name
        assert sum(sizes(exchanges, "all-reduce")) == gradients, name


NETWORK = ("encoder", "trunk", "decoder", "mask_heads", "head")


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [1, 4])
def test_batch_normalisation_sends_its_statistics_forwards_and_backwards(
    chunks: int, tmp_path: Path
) -> None:
    """By chunks for each of them, and forwards twice; with running statistics none."""
    step = counted(tmp_path, "model.norm=batch", "data.classes=9", f"train.chunks={chunks}")
    parts = step["parts"]
    gradients = sum(parts[part] for part in NETWORK)
    passes = 2 if chunks == 1 else 3 * chunks
    assert sum(sizes(step["exchanges"], "all-reduce")) == gradients + passes * parts["batch_stats"]
    frozen = counted(tmp_path, "model.freeze_norm=True", "data.classes=9", f"train.chunks={chunks}")
    assert sum(sizes(frozen["exchanges"], "all-reduce")) == gradients
    for one in (step, frozen):
        assert sizes(one["exchanges"], "all-gather") == [32, 4 * 32, 4 * 32 * 16]


ALONE = """HloModule step

%sum (x: f32[], y: f32[]) -> f32[] {
  ROOT %add = f32[] add(%x, %y)
}

%body (state: (s32[], f32[6])) -> (s32[], f32[6]) {
  %r.1 = (f32[6]{0}, bf16[2,3]{1,0}) all-reduce(%a, %b), replica_groups={{0,1}}, to_apply=%sum
  ROOT %tuple = (s32[], f32[6]) tuple(%i, %c)
}

%condition (state: (s32[], f32[6])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

ENTRY %main (x: f32[6]) -> f32[6] {
  %w = (s32[], f32[6]) while(%t), condition=%condition, body=%body, backend_config={ROUNDS}
  %s = f32[3]{0} reduce-scatter(%x), replica_groups=[1,2]<=[2], dimensions={0}, to_apply=%sum
  %g = (pred[4]{0}, pred[8]{0}) all-gather-start(%m), replica_groups={{0,1}}, dimensions={0}
  %p = s32[] collective-permute(%i), source_target_pairs={{0,1},{1,0}}
}
"""
ROUNDS = '{"known_trip_count":{"n":"5"}}'


def test_loops_shares_and_what_has_begun_are_counted() -> None:
    found = traffic.exchanges(ALONE.replace("{ROUNDS}", ROUNDS))
    assert sorted(found) == [
        ("all-gather", 8, 1),
        ("all-reduce", 24 + 12, 5),
        ("collective-permute", 4, 1),
        ("reduce-scatter", 24, 1),
    ]
    with pytest.raises(ValueError, match="rounds is not known"):
        traffic.exchanges(ALONE.replace("{ROUNDS}", "{}"))


def test_rings_take_the_time_of_their_bytes_and_messages() -> None:
    links = Links(bandwidth=100.0, latency=0.5)
    for kind, size, messages in (
        ("all-reduce", 2 * 3 / 4 * 80, 6),
        ("all-gather", 3 / 4 * 80, 3),
        ("reduce-scatter", 3 / 4 * 80, 3),
        ("collective-permute", 80, 1),
    ):
        one = Exchange(kind, 80, times=2)
        assert traffic.sent(one, 4) == pytest.approx(2 * size), kind
        assert traffic.messages(one, 4) == 2 * messages, kind
        expected = 2 * (size / 100.0 + messages * 0.5)
        assert traffic.seconds([one], 4, links) == pytest.approx(expected)
        assert traffic.seconds([one], 1, links) == 0, kind
