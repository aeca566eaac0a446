"""How many training images a second come from files and from prepared records, by threads.

    pytest benchmarks/test_input_rates.py            few small images
    pytest benchmarks/test_input_rates.py --full     photographs' sizes, 1 to 16 threads, a minute

What stands below it is what a preparation that stores frames would rest on.
"""

from pathlib import Path

import input_rates
import input_tables
import numpy as np
import pytest
from results import Table

from abe_jax.data import Preprocessing

ROUNDS = {False: 1, True: 9}  # by --full


def test_rates_by_threads(full: bool, tables: list[Table]) -> None:
    rows = input_rates.measure(not full, 60.0, ROUNDS[full])
    assert len(rows) == len(input_rates.CROPS) * 5 * len(input_rates.THREADS[not full])
    assert all(rate > 0 for row in rows for rate in row["rates"])
    tables.append(input_tables.table(rows))


def test_time_that_is_over_leaves_the_rates_so_far() -> None:
    now = [0.0]

    def call() -> int:
        now[0] += 2.0
        return 10

    calls = {("plain", name, 1): call for name in "abc"}
    rates = input_rates.in_turns(calls, 3.0, 9, lambda: now[0])
    assert rates == {("plain", "a", 1): [5.0], ("plain", "b", 1): [5.0]}
    assert input_rates.in_turns(calls, 7.0, 9, lambda: now[0])["plain", "a", 1] == [5.0, 5.0]
    rows = [{"crop": c, "form": f, "kilobytes": 1.0, "threads": t, "rates": r}
            for (c, f, t), r in rates.items()]  # fmt: skip
    assert "over 1 rounds" in input_tables.table(rows).note


@pytest.fixture
def stored(tmp_path: Path) -> tuple[Preprocessing, dict[str, input_rates.Form]]:
    """The small photographs in every form."""
    resize, size = input_rates.FRAMES[True]
    preprocessing = Preprocessing(resize=resize, size=size, fit="pad")
    made = input_rates.forms(tmp_path, preprocessing, small=True)
    names = ("files", "records", "jpeg", "ppm", "pixels")
    return preprocessing, dict(zip(names, made, strict=True))


def seen(
    form: input_rates.Form, preprocessing: Preprocessing, crop: str
) -> list[input_rates.Pixels]:
    """What training sees of every record, the same numbers drawn for the same image."""
    return [
        form.image(form.records[i], preprocessing, crop, np.random.default_rng(i))
        for i in range(len(form.records))
    ]


@pytest.mark.parametrize("crop", input_rates.CROPS)
def test_records_give_what_files_give(stored, crop: str) -> None:
    preprocessing, forms = stored
    files, records = (seen(forms[name], preprocessing, crop) for name in ("files", "records"))
    np.testing.assert_array_equal(files, records)


def test_plain_crops_of_stored_frames_are_those_of_files(stored) -> None:
    preprocessing, forms = stored
    files, jpeg, ppm, pixels = (
        np.array(seen(forms[name], preprocessing, "plain"))
        for name in ("files", "jpeg", "ppm", "pixels")
    )
    np.testing.assert_array_equal(files, pixels)
    np.testing.assert_array_equal(files, ppm)
    assert (files != jpeg).any()
    assert np.abs(files.astype(int) - jpeg).mean() < 8


def test_resized_crops_of_stored_frames_have_fewer_details(stored) -> None:
    preprocessing, forms = stored
    files, pixels = (
        np.array(seen(forms[n], preprocessing, "resized")) for n in ("files", "pixels")
    )
    assert files.shape == pixels.shape
    assert (files != pixels).any()
