"""What the hosts of one job must agree on, and how each learns that another is gone.

JAX's own runtime joins the hosts, checks that each is alive and keeps what they tell each other. It
ends a process whose job is broken by an abort from C++, which Python cannot catch; so a process of
our own that does nothing else stands beside each host and says in one line what happened
(`supervisor.py`).
"""

from typing import TYPE_CHECKING

from abe_jax.lazy_imports import lazy

if TYPE_CHECKING:
    from abe_jax.hosts.agreement import first_says, gather_bits, gather_rows, is_first, together
    from abe_jax.hosts.comparing import alike
    from abe_jax.hosts.lost import GO_ON, Lost, is_loss
    from abe_jax.hosts.marks import at_work, reached
else:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "first_says": "abe_jax.hosts.agreement",
            "gather_bits": "abe_jax.hosts.agreement",
            "gather_rows": "abe_jax.hosts.agreement",
            "is_first": "abe_jax.hosts.agreement",
            "together": "abe_jax.hosts.agreement",
            "alike": "abe_jax.hosts.comparing",
            "GO_ON": "abe_jax.hosts.lost",
            "Lost": "abe_jax.hosts.lost",
            "is_loss": "abe_jax.hosts.lost",
            "at_work": "abe_jax.hosts.marks",
            "reached": "abe_jax.hosts.marks",
        },
    )

__all__ = [
    "GO_ON",
    "Lost",
    "alike",
    "at_work",
    "first_says",
    "gather_bits",
    "gather_rows",
    "is_first",
    "is_loss",
    "reached",
    "together",
]
