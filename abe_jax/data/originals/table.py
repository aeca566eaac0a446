"""The data sets that are prepared from what their authors hand out, by name."""

from abe_jax.data.originals.cars196 import CARS196
from abe_jax.data.originals.cub import CUB
from abe_jax.data.originals.imagenet import IMAGENET
from abe_jax.data.originals.inshop import INSHOP
from abe_jax.data.originals.instances import COPYDAYS, HOLIDAYS, UKBENCH
from abe_jax.data.originals.original import Original
from abe_jax.data.originals.sop import SOP

_SETS = (CARS196, CUB, SOP, INSHOP, IMAGENET, HOLIDAYS, UKBENCH, COPYDAYS)

ORIGINALS: dict[str, Original] = {original.name: original for original in _SETS}
