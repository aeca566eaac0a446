"""What divides over the devices of a job: a batch, its parts for meta-learning and its chunks."""

import math

import jax

from abe_jax.config.checks import check_domains
from abe_jax.config.schema import Config
from abe_jax.errors import UserError


def check_devices(config: Config, begun: Config | None = None) -> None:
    """Refuses a batch that does not divide over the devices, or whose parts do not.

    The batch of an evaluation need not: it grows (`evaluation/network.py`).

    Args:
        config: of the training.
        begun: of the run that it goes on with: a batch that is still this run's stays what it is,
            so the line names numbers of devices.

    Raises:
        UserError: names the nearest batch that divides, or the nearest numbers of devices; also the
            errors of `check_domains`.
    """
    devices, chunks = jax.device_count(), config.train.chunks
    check_domains(config)
    if chunks > 1 and config.meta.domains:
        raise UserError(
            f"config.train.chunks: {chunks}, but meta-learning needs its rows at once; set it to 1"
        )
    found = _misfit(config, devices)
    if found is not None:
        what, another = found
        goes_on = begun is not None and _parts(begun) == _parts(config)
        raise UserError(f"{what}; {(goes_on and _numbers(config, devices)) or another}")


def _parts(config: Config) -> tuple[int, ...]:
    """What decides which numbers of devices a batch divides over."""
    train, meta = config.train, config.meta
    return train.batch, train.chunks, meta.domains, config.data.domains_per_batch


def _misfit(config: Config, devices: int) -> tuple[str, str] | None:
    """What does not divide over so many devices, and which other value would."""
    batch, chunks = config.train.batch, config.train.chunks
    over = f"do not divide over {devices} devices"
    for part, rows in config.meta.rows(batch, config.data.domains_per_batch).items():
        if rows % devices:
            what = f"config.train.batch: {rows} {part} rows of {batch} {over}"
            return what, f"a multiple of {_fitting(config, devices)} does"
    if batch % devices:
        fits = max(1, round(batch / devices)) * devices
        return f"config.train.batch: {batch} images {over}", f"the nearest is {fits}"
    rows = batch // devices
    if rows % chunks:
        fits = min((n for n in range(1, rows + 1) if rows % n == 0), key=lambda n: abs(n - chunks))
        what = f"config.train.chunks: {rows} rows a device, but {chunks} chunks"
        return what, f"the nearest is {fits}"
    return None


def _fitting(config: Config, devices: int) -> int:
    of_class = config.data.images_per_class * config.data.repeats
    return config.data.domains_per_batch * math.lcm(devices, of_class)


def _numbers(config: Config, devices: int) -> str:
    """The nearest numbers of devices over which the batch divides, as what to do; "": none does."""
    below = (n for n in range(min(devices, config.train.batch), 0, -1) if not _misfit(config, n))
    above = (n for n in range(devices + 1, config.train.batch + 1) if not _misfit(config, n))
    near = [str(n) for n in (next(below, None), next(above, None)) if n]
    if not near:
        return ""
    return f"this run goes on with {' or '.join(near)} device{'s' * (near != ['1'])}"
