"""What hosts compare that evaluate one run together."""

import dataclasses

import numpy as np

from abe_jax.cli import evaluate, evaluation_hosts
from abe_jax.data import Split


def request(*words: str) -> dict[str, object]:
    arguments, overrides = evaluate.parser().parse(["--workdir", "run", *words])
    return evaluation_hosts.request(arguments, overrides)


def test_who_a_host_is_and_where_things_lie_is_its_own() -> None:
    own = ["--coordinator=here:1", "--processes=2", "--process=1", "--join-within=9"]
    assert request(*own, "--config.data.root=/data") == request()
    assert request("--path=/photos") == request("--path=/images") != request()
    assert request("--split=val") != request()
    assert request("--config.data.label_column=item")["--config.data.label_column"] == "item"


def test_each_division_is_compared() -> None:
    images = Split(
        name="test",
        records=[b""] * 2,
        labels=np.zeros(2, np.int32),
        class_names=("a",),
        paths=("a/0", "a/1"),
    )
    other = dataclasses.replace(images, paths=("a/0", "a/2"))
    found = evaluation_hosts.listed([images, other])
    assert list(found) == ["the test images of division 0", "the test images of division 1"]
    assert len({*found.values()}) == 2
    assert list(evaluation_hosts.listed([images])) == ["the test images"]
