"""The length of a training, and what happens at which step."""

import dataclasses

from abe_jax.bounds import Count, Natural, Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
    """Length of training, and how often it logs, validates and saves."""

    steps: Natural  # 0: nothing is trained, the weights are evaluated as they are
    batch: Rows = 64  # images of one global batch
    # Parts of a batch that pass the network one after the other, for batches whose maps no memory
    # holds: the loss and its gradient are the whole batch's (training/gradient.py), for a second
    # forward pass. Batch normalisation takes its statistics of one part.
    chunks: Count = 1
    log_every: Count = 20
    evaluate_every: Natural = 0  # steps between validations; 0: only at the end
    checkpoint_every: Count = 100

    def validates(self, step: int) -> bool:
        """Whether the state after this many steps is measured on the validation classes."""
        return step == self.steps or self._at(step, self.evaluate_every)

    def logs(self, step: int) -> bool:
        """Whether metrics.csv has a row for this step."""
        return self.validates(step) or self._at(step, self.log_every)

    def _at(self, step: int, every: int) -> bool:
        return step > 0 and every > 0 and step % every == 0
