"""Options of `pytest benchmarks` and the tables it ends with.

pytest benchmarks                                         small sizes, any machine
pytest benchmarks --full --write benchmarks/RESULTS.md    the paper's sizes, for a GPU or TPU
pytest benchmarks --budget 120 --figures FOLDER           larger sizes in test_growth.py, drawn
"""

from pathlib import Path

import jax
import pytest
from results import SIZES, Table, machine, write

TABLES = pytest.StashKey[list[Table]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the benchmarks."""
    group = parser.getgroup("benchmarks")
    group.addoption("--full", action="store_true", help="the paper's sizes; meant for a GPU or TPU")
    group.addoption("--rounds", type=int, default=31, help="interleaved rounds a median is over")
    group.addoption("--queries", type=int, help="queries of searches, in place of the size's own")
    group.addoption("--budget", type=float, default=3, help="seconds for a size of what grows")
    group.addoption("--figures", type=Path, metavar="FOLDER", help="put figures of growth here")
    group.addoption("--write", type=Path, metavar="PATH", help="put the tables into this file")


def pytest_configure(config: pytest.Config) -> None:
    """Compiled programs are kept between runs; nothing measured includes compilation."""
    config.stash[TABLES] = []
    if config.cache is not None:
        jax.config.update("jax_compilation_cache_dir", str(config.cache.mkdir("jax")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


@pytest.fixture(scope="session")
def full(request: pytest.FixtureRequest) -> bool:
    """Whether the paper's sizes are measured."""
    return bool(request.config.getoption("full"))


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """How many interleaved rounds a median is over."""
    return int(request.config.getoption("rounds") or 1)


@pytest.fixture(scope="session")
def asked(request: pytest.FixtureRequest) -> int | None:
    """How many queries searches have; None: as many as go with the size."""
    return request.config.getoption("queries")


@pytest.fixture(scope="session")
def tables(request: pytest.FixtureRequest) -> list[Table]:
    """Where a benchmark puts its table."""
    return request.config.stash[TABLES]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Prints the tables; writes them where --write says, unless a benchmark failed."""
    tables = config.stash[TABLES]
    if not tables:
        return
    is_full = bool(config.getoption("full"))
    terminalreporter.section(SIZES[is_full])
    terminalreporter.write_line(machine())
    for table in tables:
        terminalreporter.write_line(f"\n{table}")
    path = config.getoption("write")
    if path is not None and exitstatus != pytest.ExitCode.OK:
        terminalreporter.write_line(f"\n{path} is left as it was: a benchmark failed")
    elif path is not None:
        write(path, tables, heading=SIZES[is_full], facts=f"{machine()}.")
        terminalreporter.write_line(f"\nwritten to {path}")
