"""The paper's table to the digit, and what the counter does with every kind of nesting."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from abe_jax import config
from abe_jax.cli import complexity
from abe_jax.config import build
from abe_jax.models import counting

CONFIGS = Path(__file__).parent.parent / "configs"

# Parameters and multiply-adds at 224 px; the rounded figures are those of arXiv 1804.00382.
TABLE = [
    ("single", 1, 512, 6_498_352, 1_582_172_160),
    ("heads", 2, 512, 11_795_056, 2_253_828_096),
    ("heads", 4, 512, 22_388_464, 3_597_139_968),
    ("heads", 8, 512, 43_575_280, 6_283_763_712),
    ("abe", 1, 512, 9_707_360, 2_210_325_504),
    ("abe", 2, 512, 9_844_800, 2_960_256_000),
    ("abe", 4, 512, 10_513_280, 4_460_116_992),
    ("abe", 8, 512, 12_047_040, 7_459_838_976),
    ("abe", 1, 64, 9_248_160, 2_209_866_752),
    ("abe", 2, 128, 9_648_000, 2_959_862_784),
    ("abe", 4, 256, 10_447_680, 4_459_854_848),
]


def counted_parts(name: str, *overrides: str) -> list[counting.PartCount]:
    return counted_parts_of(f"cars196_{name}.py", *overrides)


def counted_parts_of(file: str, *overrides: str) -> list[counting.PartCount]:
    made = config.load(CONFIGS / file, list(overrides))
    return counting.parts(build.model(made.model), made.data.size, made.data.channels)


@pytest.mark.parametrize(("name", "learners", "dim", "parameters", "multiply_adds"), TABLE)
def test_table_of_the_paper(name, learners, dim, parameters, multiply_adds):
    overrides = [f"model.learners={learners}", f"model.dim={dim}"]
    *parts, total = counted_parts(name, *overrides)
    assert (total.parameters, total.multiply_adds) == (parameters, multiply_adds)
    assert sum(part.parameters for part in parts) == parameters
    assert sum(part.multiply_adds for part in parts) == multiply_adds


def test_parts_of_abe():
    rows = counted_parts("abe", "model.learners=2")
    found = {row.name: (row.parameters, row.multiply_adds) for row in rows}
    pixels = 14 * 14
    named = [
        name for name in counting.PARTS.values() if name not in ("pooling", "neck", "side heads")
    ]
    assert list(found) == [*named, "total"]  # the average has neither parameters nor products
    assert found["attention masks"] == (2 * (832 * 480 + 480), 2 * pixels * 832 * 480)
    assert found["fully connected"] == (1024 * 256 + 256, 2 * 1024 * 256)
    trunk, decoder = found["attention trunk"], found["decoder"]
    assert trunk[1] < decoder[1] / 2  # the trunk once, the decoder once for each learner


def test_response_normalisation_and_pooling_cost_no_multiply_adds():
    plain = counted_parts("single", "model.norm=none")
    lrn = counted_parts("single", "model.norm=lrn")
    assert plain == lrn


def counted(function, *shapes) -> dict[str, int]:
    return counting.multiply_adds(function, *(jax.ShapeDtypeStruct(s, "float32") for s in shapes))


def test_batched_product():
    assert counted(lambda a, b: jnp.einsum("bij,bjk->bik", a, b), (3, 4, 5), (3, 5, 6)) == {
        "other": 3 * 4 * 5 * 6
    }


def test_grouped_strided_padded_convolution():
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(
            x,
            kernel,
            window_strides=(2, 2),
            padding=((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=2,
        )

    found = counted(convolve, (1, 8, 8, 6), (3, 3, 3, 10))
    assert found == {"other": 4 * 4 * 3 * 3 * (6 // 2) * 10}


def test_inside_jit_scan_remat_and_custom_gradients():
    @jax.custom_vjp
    def product(a, b):
        return a @ b

    product.defvjp(lambda a, b: (product(a, b), (a, b)), lambda kept, g: (g, g))

    def function(a, b):
        a = jax.jit(jnp.matmul)(a, b)
        a = jax.checkpoint(jnp.matmul)(a, b)
        a = product(a, b)
        return jax.lax.scan(lambda carry, _: (carry @ b, None), a, length=7)[0]

    assert counted(function, (4, 4), (4, 4)) == {"other": 64 * (1 + 1 + 1 + 7)}


def test_of_branches_the_costliest_counts():
    def function(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a @ b @ b)

    assert counted(function, (4, 4), (4, 4)) == {"other": 2 * 64}


def test_a_loop_of_unknown_length_is_refused():
    def function(a, b):
        return jax.lax.while_loop(lambda x: x[0, 0] > 0, lambda x: x @ b, a)

    with pytest.raises(ValueError, match="turns"):
        counted(function, (4, 4), (4, 4))


def test_training_counts_by_part_as_well():
    small = ["model.backbone=convnet", "model.branch=pool2", "model.trunk_depth=1"]
    small += ["model.width=4", "model.norm=none", "data.size=32", "data.channels=1"]
    made = config.load(CONFIGS / "cars196_abe.py", small)
    model = build.model(made.model)
    image = jax.ShapeDtypeStruct((1, 32, 32, 1), jnp.float32)
    variables = jax.eval_shape(lambda x: model.init(jax.random.key(0), x, train=False), image)

    def loss(v, x):
        embeddings: Any = model.apply(v, x, train=True)
        return embeddings.vectors.sum()

    forward = {row.name: row.multiply_adds for row in counting.parts(model, 32, 1)}
    backward = counting.multiply_adds(jax.grad(loss), variables, image)
    for part, name in counting.PARTS.items():
        if part in ("pool", "neck", "sides"):
            continue  # the average counts nothing; a neck and side heads are not there
        # Forward, and as much again for each of the two gradients, but none for the pixels'.
        assert 2 * forward[name] <= backward[part] <= 3.2 * forward[name]
    assert backward[counting.OTHER] == 0


# Two convolutional trunks have published sizes: 1-head's GoogLeNet above, and VGG-16's, which has
# 138,357,544 parameters, 123,642,856 of them in its linear layers (torchvision), and 15.3 billion
# multiply-adds (He et al., arXiv 1512.03385, section 4.1). No size of a whole system is published.
COMPARED = {
    "hdc_cars196": (10_696_880, 1_588_365_312),
    "abier_sop": (6_498_352, 1_582_172_160),  # that of 1-head 512
    "fashionnet_inshop": (178_494_278, 16_890_585_088),
}


@pytest.mark.parametrize("name", COMPARED)
def test_sizes_of_the_compared_systems(name, capsys):
    complexity.main(["--config", str(CONFIGS / f"{name}.py"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    total = printed["total"]
    assert (total["parameters"], total["multiply_adds"]) == COMPARED[name]
    told = (CONFIGS.parent / "docs" / "SEEDS.md").read_text()
    assert f"configs/{name}.py" in told
    assert f"{total['parameters']:,}" in told and f"{total['multiply_adds']:,}" in told


def test_hdc_is_a_single_head_but_for_its_side_heads():
    *parts, total = counted_parts_of("hdc_cars196.py")
    (sides,) = (part for part in parts if part.name == "side heads")
    single = counted_parts("single", "model.learners=1", "model.dim=384")[-1]
    assert total.multiply_adds - sides.multiply_adds == single.multiply_adds


def test_vgg_of_fashionnet_has_its_published_size():
    parts = {part.name: part for part in counted_parts_of("fashionnet_inshop.py")}
    trunk = [parts["encoder"], parts["decoder"]]
    assert sum(part.parameters for part in trunk) == 14_714_688
    assert sum(part.multiply_adds for part in trunk) == 15_346_630_656


def test_learners_of_unequal_size_are_told(capsys):
    complexity.main(["--config", str(CONFIGS / "abier_sop.py")])
    title = capsys.readouterr().out.splitlines()[0]
    assert title.startswith("divided, 96 + 160 + 256 dimensions, googlenet")


def test_prints_a_table_and_json(capsys):
    arguments = ["--config", str(CONFIGS / "cars196_abe.py"), "--config.model.learners=4"]
    complexity.main([*arguments, "--config.model.dim=256"])
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1].split() == ["total", "10,447,680", "4,459,854,848"]
    complexity.main([*arguments, "--config.model.dim=256", "--json"])
    parsed = json.loads(capsys.readouterr().out)
    assert parsed["total"]["parameters"] == 10_447_680
    assert sum(part["multiply_adds"] for part in parsed["parts"]) == 4_459_854_848
