"""The data sets that are prepared from what their authors hand out, by name."""

from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.cars196 import CARS196
from abe_jax.data.sources.benchmarks.cub import CUB
from abe_jax.data.sources.benchmarks.holidays_ukbench_copydays import COPYDAYS, HOLIDAYS, UKBENCH
from abe_jax.data.sources.benchmarks.imagenet import IMAGENET
from abe_jax.data.sources.benchmarks.inshop import INSHOP
from abe_jax.data.sources.benchmarks.sop import SOP

_SETS = (CARS196, CUB, SOP, INSHOP, IMAGENET, HOLIDAYS, UKBENCH, COPYDAYS)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _SETS}
