"""The data sets that are prepared from what their authors hand out, by name.

To add one (images of one's own need nothing of this: `abe.data.folder(path)`):
  1. Write its file in this folder: `key`, `listing` and a `Benchmark` (benchmark.py says what each
     of its fields is); cub.py is an example. A KeyError, IndexError, TypeError or ValueError of
     `listing` becomes a message that names the set and the folder.
  2. Add it to _SETS below and, in the same order, its name to DATASETS in abe_jax/choices.py: then
     `prepare --dataset`, `data.name` and `evaluate --dataset` know it.
  3. In the tests: a small copy laid out as the authors do it, by a function of its name in TREES of
     benchmark_trees.py, each image by `image(name)`; its published counts in PUBLISHED of
     test_data_benchmarks.py. If it comes with files that list its images, a row in
     `test_a_list_that_is_missing_is_named` and in `test_a_list_that_is_not_understood_is_one_line`
     of test_data_benchmarks_sources.py.
  4. Its protocol in docs/PROTOCOLS.md, its name in README and in the docstring of cli/prepare.py.
  5. Only if it is evaluated in its own way: the K of its Recall@K in PUBLISHED_KS of
     config/other_data.py, its own figure in FIGURES of evaluation/benchmark_figures.py.
"""

from abe_jax.data.sources.benchmarks.benchmark import Benchmark
from abe_jax.data.sources.benchmarks.cars196 import CARS196
from abe_jax.data.sources.benchmarks.cub import CUB
from abe_jax.data.sources.benchmarks.cuhk02 import CUHK02
from abe_jax.data.sources.benchmarks.cuhk03 import CUHK03_DETECTED, CUHK03_LABELED
from abe_jax.data.sources.benchmarks.grid_ilids import GRID, ILIDS
from abe_jax.data.sources.benchmarks.holidays_ukbench_copydays import COPYDAYS, HOLIDAYS, UKBENCH
from abe_jax.data.sources.benchmarks.imagenet import IMAGENET
from abe_jax.data.sources.benchmarks.inshop import INSHOP
from abe_jax.data.sources.benchmarks.market1501_duke import DUKEMTMC, MARKET1501
from abe_jax.data.sources.benchmarks.sop import SOP
from abe_jax.data.sources.benchmarks.viper_prid import PRID, VIPER

_SETS = (CARS196, CUB, SOP, INSHOP, IMAGENET, HOLIDAYS, UKBENCH, COPYDAYS)
_SETS += (MARKET1501, DUKEMTMC, CUHK02, CUHK03_LABELED, CUHK03_DETECTED, GRID, VIPER, PRID, ILIDS)

BENCHMARKS: dict[str, Benchmark] = {benchmark.name: benchmark for benchmark in _SETS}
