"""A training that never sees a domain, measured on that domain, from config to report."""

import json
import re

import cv2
import numpy as np
import pytest
from processes import TINY, run
from tiny_config import SMALLER

from abe_jax import config
from abe_jax.cli import train
from abe_jax.config import build
from abe_jax.errors import UserError

DOMAINS = [
    "data.sampler=domains",
    "data.domains_per_batch=2",
    "data.images_per_class=2",
    "data.unseen_domains=('STIX','DejaVu Serif')",
    "evaluate.domains=True",
]


pytestmark = pytest.mark.usefixtures("as_a_user")


@pytest.mark.slow
def test_training_never_sees_the_domains_that_are_tested(tiny_data, tmp_path):
    train.run(config.load(TINY, [*SMALLER, *DOMAINS]), tmp_path)
    found = json.loads((tmp_path / "evaluation.json").read_text())["test"]
    split = build.dataset(config.read_json(tmp_path / "config.json").data).split("test")
    assert split.groups is not None
    each = found["domains"]["each"]
    assert sorted(each) == ["DejaVu Serif", "STIX"] and found["domains"]["left_out"] == []
    for name, one in each.items():
        assert one["images"] == (split.groups == split.group_names.index(name)).sum() > 0
    assert found["images"] == len(split.labels) == sum(one["images"] for one in each.values())
    recalls = [one["pixels"]["recall@1"] for one in each.values()]
    assert found["domains"]["mean"]["pixels"]["recall@1"] == pytest.approx(sum(recalls) / 2)
    page = (tmp_path / "report.html").read_text()
    assert "Each domain by itself, mean of 2" in page
    again = run("evaluate", "--workdir", tmp_path, "--split", "val", data=tiny_data)
    assert again.returncode == 0, again.stderr
    assert re.search(r"each domain by itself, mean of 2:\n  embedding +\d", again.stdout)
    val = json.loads((tmp_path / "evaluation.json").read_text())["val"]["domains"]
    assert sorted(val["each"]) == ["DejaVu Sans", "DejaVu Sans Mono"]


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.unseen_domains=('STX',)", "no domain is called 'STX'; did you mean 'STIX'"),
        ("train.batch=30", "multiple of 4 .*got 30; the nearest is 32"),
        ("data.domains_per_batch=3", "3 domains asked of each batch.* have 2; at most 2"),
        ("data.validation_domains=('DejaVu Sans',)", "2 domains asked .* have 1; at most 1"),
    ],
)
def test_domains_that_cannot_be_trained_are_refused_before_the_first_step(tmp_path, override, says):
    with pytest.raises(UserError, match=says):
        train.run(config.load(TINY, [*SMALLER, *DOMAINS, override]), tmp_path)


def test_domains_to_measure_that_are_not_there_are_refused_before_the_first_step(tmp_path):
    for name in ("ant", "bee", "cat", "dog", "elk", "fox"):
        for i in range(4):
            (tmp_path / "in" / name).mkdir(parents=True, exist_ok=True)
            encoded = cv2.imencode(".png", np.full((16, 16, 1), i, np.uint8))[1]
            (tmp_path / "in" / name / f"{i}.png").write_bytes(encoded.tobytes())
    asked = ["data.name=folder", f"data.path={tmp_path / 'in'}", "data.validation_classes=1"]
    asked += ["evaluate.domains=True", "train.batch=8"]
    with pytest.raises(UserError, match=r"evaluate.domains: the images of val have no domains"):
        train.run(config.load(TINY, [*SMALLER, *asked]), tmp_path / "run")
