"""Checkpoints: what is restored is what was saved, or one line says which folder is damaged."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pytest

from abe_jax.errors import UserError
from abe_jax.training.checkpoint import Checkpoints
from abe_jax.training.state import TrainState


def state(step: int) -> TrainState:
    rng = np.random.default_rng(step)
    return TrainState(
        step=np.array(step, np.int32),
        params={"model": {"kernel": rng.normal(size=(5, 7)).astype(np.float32)}, "objective": {}},
        batch_stats={},
        opt_state=(rng.normal(size=400).astype(np.float32),),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the steps 3 and 8 of three saved, two kept."""
    folder = tmp_path_factory.mktemp("written") / "latest"
    checkpoints = Checkpoints(folder, 2)
    for step in (1, 3, 8):
        checkpoints.save(state(step), {"value": step / 10})
    checkpoints.close()
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "latest"))


@pytest.fixture
def opened(folder: Path) -> Iterator[Checkpoints]:
    checkpoints = Checkpoints(folder, 2)
    yield checkpoints
    checkpoints.close()


def test_the_steps_of_a_folder_are_those_that_orbax_finds(folder: Path) -> None:
    """Not one that is being written, nor what is no step at all."""
    for name in ("9.orbax-checkpoint-tmp-5", "11.orbax-checkpoint-tmp", "metadata", "-4", "1_0"):
        (folder / name).mkdir()
    (folder / "12").write_text("a file")
    assert Checkpoints.steps_in(folder) == [3, 8]
    assert Checkpoints.steps_in(folder / "nowhere") == []
    checkpoints = Checkpoints(folder, 2)
    assert checkpoints.steps() == [3, 8]
    checkpoints.close()


def assert_same(left: TrainState, right: TrainState) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, other in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_the_last_ones_are_kept_and_come_back_to_the_bit(opened: Checkpoints) -> None:
    assert opened.steps() == [3, 8]
    for step, asked in ((8, None), (8, 8), (3, 3)):
        restored, about = opened.restore(state(0), asked)
        assert_same(restored, state(step))
        assert (about["step"], about["value"]) == (step, step / 10)
    assert opened.about(3)["value"] == 0.3


def test_a_step_that_is_there_is_not_written_again(opened: Checkpoints) -> None:
    opened.save(state(8).replace(params=state(1).params), {"value": -1})
    opened.wait()
    assert_same(opened.restore(state(0))[0], state(8))


def test_no_checkpoint_is_one_line(tmp_path: Path) -> None:
    empty = Checkpoints(tmp_path / "empty", 1)
    with pytest.raises(UserError, match="empty: no checkpoint in it; train the run first"):
        empty.restore(state(0))
    empty.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def turn(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "cut in half": cut,
    "one byte turned": turn,
}


# Orbax leaves files and exceptions behind when it fails to read.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_file_damaged_is_told_or_did_not_matter(
    damage: str, written: Path, tmp_path: Path
) -> None:
    told = 0
    names = [p.relative_to(written) for p in (written / "8").rglob("*") if p.is_file()]
    for i, name in enumerate(names):
        folder = shutil.copytree(written, tmp_path / str(i))
        DAMAGES[damage](folder / name)
        checkpoints = Checkpoints(folder, 2)
        try:
            assert_same(checkpoints.restore(state(0))[0], state(8))
        except UserError as error:
            told += 1
            assert f"{folder / '8'}: the checkpoint is damaged; delete that folder" in str(error)
            assert "\n" not in str(error)
        finally:
            checkpoints.close()
    assert told >= 4  # the rest are marks and indices that reading does not need


@pytest.mark.parametrize("content", ["null", "[]", "{}", "3"])
def test_a_description_that_is_none_is_damage(content: str, folder: Path) -> None:
    (folder / "8" / "about" / "metadata").write_text(content)
    checkpoints = Checkpoints(folder, 2)
    with pytest.raises(UserError, match="8: the checkpoint is damaged"):
        checkpoints.restore(state(0))
    checkpoints.close()


def test_another_content_under_the_same_names_is_found_by_its_digest(folder: Path) -> None:
    about = folder / "8" / "about" / "metadata"
    described = json.loads(about.read_text())
    shutil.rmtree(folder / "8" / "state")
    shutil.copytree(folder / "3" / "state", folder / "8" / "state")
    assert described["step"] == 8
    checkpoints = Checkpoints(folder, 2)
    with pytest.raises(UserError, match="content is not what was written"):
        checkpoints.restore(state(0))
    checkpoints.close()


@pytest.mark.parametrize("name", ["8", "9"])
def test_an_empty_folder_is_damage_and_deleting_it_goes_back(name: str, folder: Path) -> None:
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / name).mkdir()
    checkpoints = Checkpoints(folder, 2)
    with pytest.raises(UserError, match=f"latest/{name}: the checkpoint is damaged"):
        checkpoints.restore(state(0))
    checkpoints.close()
    (folder / name).rmdir()
    checkpoints = Checkpoints(folder, 2)
    assert_same(checkpoints.restore(state(0))[0], state(3 if name == "8" else 8))
    checkpoints.close()


def test_a_write_that_fails_says_so_and_leaves_the_others(
    opened: Checkpoints, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(opened._manager, "save", full)
    with pytest.raises(UserError, match=r"cannot be written; those before are intact .*No space"):
        opened.save(state(9), {})
    assert_same(opened.restore(state(0))[0], state(8))


def test_a_close_that_fails_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orbax writes then, too: as of a disk that turned read-only behind the last step."""
    checkpoints, closed = Checkpoints(folder, 2), []

    def read_only(*_: object) -> None:
        closed.append(True)
        raise OSError(30, "Read-only file system", "8.orbax-checkpoint-tmp/_CHECKPOINT_METADATA")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "close", read_only)
        with pytest.raises(
            UserError, match=r"cannot be written; those before are intact .*Read-on"
        ):
            checkpoints.close()
    assert closed
    checkpoints.close()


def test_other_shapes_are_refused(opened: Checkpoints) -> None:
    other = state(0).replace(params={"model": {"kernel": np.zeros((5, 8))}, "objective": {}})
    with pytest.raises(UserError, match="latest/8"):
        opened.restore(other)
