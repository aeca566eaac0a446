"""The whitening of a run's checkpoint: what it is fitted on, kept with, and bound to."""

import json
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from states import created_state, on_host

from abe_jax import config, evaluation
from abe_jax.config import Config, build, stored, to_mapping, write_json
from abe_jax.data import Split, loader
from abe_jax.errors import UserError
from abe_jax.evaluation import whitening
from abe_jax.evaluation.whitening import Whitening
from abe_jax.report import tables
from abe_jax.report.tables import WHITENED
from abe_jax.runs import fitted_whitening
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.run_folder import RunFolder
from abe_jax.training.state import TrainState

TINY = Path(__file__).with_name("tiny_config.py")
SINGLE = (
    "model.kind=single",
    "model.learners=1",
    "objective=[{'name': 'cross_entropy'}]",
    "data.classes=35",
)
ALL = 10_000  # more images than there are


pytestmark = pytest.mark.usefixtures("as_a_user")


def saved(
    folder: Path, *overrides: str, of: Callable[[Config], TrainState] = created_state
) -> RunFolder:
    """A folder as a run leaves it that has evaluated nothing yet, in the state `of` its config."""
    made = config.load(TINY, (f"evaluate.whiten={ALL}", *overrides))
    run = RunFolder(folder)
    folder.mkdir(exist_ok=True)
    write_json(made, run.config)
    best = Checkpoints(run.best, 1)
    best.save(on_host(of(made)), {"value": 0.5})
    best.close()
    return run


def evaluated(run: RunFolder) -> tuple[dict[str, float], list[str]]:
    """The whitened row of an evaluation, and what was said of it."""
    said: list[str] = []
    stored.run(run.path).write_evaluation("test", said.append)
    found = json.loads(run.evaluation.read_text())["test"]["metrics"]["whitened"]
    return found, [line for line in "\n".join(said).splitlines() if "whiten" in line]


def as_an_earlier_version_left_it(run: RunFolder) -> None:
    """Without a name that the config has today, and the whitening bound to a config without it."""
    about = json.loads(run.config.read_text())
    del about["evaluate"]["near_duplicates"]
    run.config.write_text(json.dumps(about))
    with np.load(run.whitening("")) as stored:
        arrays = dict(stored)
    checkpoint = json.loads(str(arrays["of"]))["checkpoint"]
    arrays["of"] = np.array(json.dumps(fitted_whitening.source(checkpoint, about)))
    np.savez(run.whitening(""), **arrays)


def split_of(made: Config, name: str) -> Split:
    return build.dataset(made.data).split(name)


def embeddings(made: Config, name: str) -> tuple[np.ndarray, np.ndarray]:
    """What of a split is whitened, by the network itself, and the labels."""
    split, state = split_of(made, name), created_state(made)
    variables = {"params": state.params["model"], "batch_stats": state.batch_stats}
    network = build.network(made)
    apply = jax.jit(network.model.apply)
    raw = []
    for batch in loader.in_order(split, network.preprocessing, 64):
        found = apply(variables, network.preprocessing.normalise(jnp.asarray(batch.images)))
        read = found.unnormalised if made.model.learners == 1 else found.vectors
        raw.append(np.asarray(read).reshape(64, -1)[batch.mask])
    return np.concatenate(raw), split.labels


def nearest_mean(raw: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The linear classifier whose argmax is the class of the nearest mean."""
    means = np.stack([raw[labels == label].mean(axis=0) for label in np.unique(labels)])
    return means, -(means**2).sum(axis=1) / 2


def test_classifier_of_a_network_folds_into_the_whitening_of_its_embeddings() -> None:
    made = config.load(TINY, SINGLE)
    train, (raw, _) = embeddings(made, "train"), embeddings(made, "test")
    fitted = whitening.fit(train[0])
    weight, bias = nearest_mean(*train)
    double = raw.astype(np.float64)
    logits = double @ weight.astype(np.float64).T + bias
    expected = logits / np.sqrt((double**2).sum(axis=1, keepdims=True) + 1)
    folded = whitening.fold(fitted, weight, bias)
    for dtype, bound in ((np.float64, 1e-10), (np.float32, 1e-4)):
        y = whitening.apply(fitted, raw.astype(dtype))
        found = y @ folded.weight.astype(dtype).T + folded.bias.astype(dtype)
        assert (found.argmax(axis=1) == logits.argmax(axis=1)).all()
        assert np.abs(found - expected).max() < bound
    assert len(set(logits.argmax(axis=1))) > 10


def test_whitened_row_stands_behind_the_embedding_or_the_ensemble() -> None:
    values = {"recall@1": 0.5}
    for learners, name in (([values], "embedding, whitened"), ([values] * 2, WHITENED[True])):
        metrics = {"ensemble": values, "learners": learners, "whitened": values, "pixels": values}
        names = [row.name for row in tables.rows({"metrics": metrics})]
        assert names[-2:] == [name, tables.PIXELS]
        del metrics["whitened"]
        assert name not in [row.name for row in tables.rows({"metrics": metrics})]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [SINGLE, ()], ids=["one learner", "two learners"])
def test_evaluation_measures_what_is_whitened_by_training_images(
    overrides: tuple[str, ...], tmp_path: Path
) -> None:
    run = saved(tmp_path / "run", *overrides)
    found, said = evaluated(run)
    made = config.read_json(run.config)
    fitted = whitening.fit(embeddings(made, "train")[0])
    raw, labels = embeddings(made, "test")
    unit = whitening.unit_whitened(fitted, raw)
    expected = evaluation.scores(unit, labels, (1, 2)).means()
    assert found == pytest.approx(expected, abs=0.003)  # two programs round an embedding apart
    plain = json.loads(run.evaluation.read_text())["test"]["metrics"]["ensemble"]
    assert abs(found["map@r"] - plain["map@r"]) > 0.01
    one = overrides == SINGLE
    assert said[0].startswith("whitening fitted on") and f"{16 + one} of 17 directions" in said[0]
    assert said[1].startswith(f"{'embedding' if one else 'ensemble'}, whitened ")
    again, said = evaluated(run)
    assert again == found and len(said) == 1  # the row alone: the kept whitening serves
    as_an_earlier_version_left_it(run)
    again, said = evaluated(run)
    assert again == found and len(said) == 1


def test_kept_whitening_is_used_again_until_the_checkpoint_or_the_config_is_another(
    tmp_path: Path,
) -> None:
    made = config.load(TINY, ("evaluate.whiten=40",))
    path, fits = tmp_path / "whitening.npz", list[str]()

    def raw() -> np.ndarray:
        return np.random.default_rng(len(fits)).normal(size=(40, 3))

    def of(digest: str, asked: Config) -> Whitening:
        source = fitted_whitening.source(digest, to_mapping(asked))
        found = fitted_whitening.load_or_fit(path, source, raw, fits.append)
        assert found is not None
        return found

    first = of("one", made)
    assert fits == ["whitening fitted on 40 training images: 4 of 4 directions"]
    again = of("one", made)
    assert len(fits) == 1 and np.array_equal(again.projection, first.projection)
    path.write_bytes(path.read_bytes()[:300])
    second = of("one", made)
    assert len(fits) == 2 and not np.array_equal(second.mean, first.mean)
    of("two", made)
    of("two", config.load(TINY, ("evaluate.whiten=40", "data.size=30")))
    assert len(fits) == 4


def test_a_whitening_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    made = config.load(TINY, ("evaluate.whiten=40",))
    (tmp_path / "file").write_text("something of mine")
    path = tmp_path / "file" / "whitening.npz"

    def raw() -> np.ndarray:
        return np.random.default_rng(0).normal(size=(40, 3))

    source = fitted_whitening.source("one", to_mapping(made))
    with pytest.raises(UserError, match="cannot be written"):
        fitted_whitening.load_or_fit(path, source, raw, print)


def test_images_it_is_fitted_on_are_drawn_by_the_seed() -> None:
    made = config.load(TINY, ("evaluate.whiten=40",))
    train = split_of(made, "train")
    drawn = fitted_whitening.sample(train, 40, 0)
    assert len(drawn.records) == 40
    assert np.array_equal(drawn.labels, fitted_whitening.sample(train, 40, 0).labels)
    assert len(set(drawn.labels)) > 10  # of all over the split, not its first classes
    other = fitted_whitening.sample(train, 40, 1)
    assert not np.array_equal(drawn.labels, other.labels)
    assert drawn.records[3] in [
        train.records[int(i)] for i in np.flatnonzero(train.labels == drawn.labels[3])
    ]
