"""The worker of benchmarks/gpu.py that runs the same training steps in PyTorch (started by it)."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import gpu_workers
import torch
from torch import Tensor
from torch_ensemble import Network
from torch_losses import Facts, Losses

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
GIB = 2**30


class Step:
    """One training step after the other: loss, gradients, clipping, SGD with momentum.

    Clipping and the optimiser are PyTorch's own, over lists of tensors; with `compiled` the network
    and the losses, and with them their gradients, are compiled.
    """

    def __init__(self, facts: Facts, *, compiled: bool):
        # PyTorch's own types lack this form.
        network = Network(facts).to(DEVICE, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        losses = Losses(facts).to(DEVICE)
        self.parameters = sum(p.numel() for p in network.parameters())
        self._all = [*network.parameters(), *losses.parameters()]
        self._clip = facts.clip
        self._optimizer = optimizer(self._all, facts)

        def loss(images: Tensor, labels: Tensor, ids: Tensor) -> Tensor:
            x, z = network(images.permute(0, 3, 1, 2).float())
            return losses(x, z, labels, ids)

        self._loss: Callable[..., Tensor] = torch.compile(loss, dynamic=False) if compiled else loss
        rows, shape = torch.arange(facts.batch, device=DEVICE), (facts.size, facts.size)
        self._batch = (
            torch.randint(
                0, 256, (facts.batch, *shape, facts.channels), dtype=torch.uint8, device=DEVICE
            ),
            rows // 4,
            rows // facts.copies,
        )

    def __call__(self) -> Tensor:
        loss = self._loss(*self._batch)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self._clip > 0:
            torch.nn.utils.clip_grad_norm_(self._all, self._clip)
        self._optimizer.step()
        return loss


def optimizer(parameters: Sequence[Tensor], facts: Facts) -> torch.optim.SGD:
    """SGD whose weight decay leaves biases and normalisation out, as ours."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": facts.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = True if DEVICE == "cuda" else None
    return torch.optim.SGD(groups, lr=facts.rate, momentum=facts.momentum, fused=fused)


class Steps:
    """The commands of this worker, and what they have made ready."""

    def __init__(self) -> None:
        self._ready: dict[str, Callable[[], Tensor]] = {}
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")  # TF32, JAX's default on a GPU

    def about(self) -> dict[str, Any]:
        """The versions, in words."""
        device = torch.cuda.get_device_name() if DEVICE == "cuda" else DEVICE
        platform = "gpu" if DEVICE == "cuda" else DEVICE
        return {"machine": f"PyTorch {torch.__version__} on {device}", "platform": platform}

    def ceiling(self, name: str, side: int, compute: str) -> float:
        """Makes a matrix product ready; its floating-point operations."""
        dtype = getattr(torch, compute)
        left, right = (torch.randn(side, side, device=DEVICE, dtype=dtype) for _ in range(2))
        self._ready[name] = lambda: left @ right
        return 2.0 * side**3

    def prepare(self, name: str, facts: dict[str, Any], compiled: bool) -> dict[str, Any]:
        """Makes a step and runs it once, in `first_s` seconds, compilation included."""
        if DEVICE == "cuda":
            torch.cuda.reset_peak_memory_stats()
            in_use = torch.cuda.memory_allocated()
        step = Step(Facts(**facts), compiled=compiled)
        start = time.perf_counter()
        loss = step().item()
        _wait()
        first = time.perf_counter() - start
        self._ready[name] = step
        peak = torch.cuda.max_memory_allocated() - in_use if DEVICE == "cuda" else None
        _give_back()
        return {
            "first_s": first,
            "loss": loss,
            "parameters": step.parameters,
            "gib": None if peak is None else peak / GIB,
        }

    def seconds(self, name: str, steps: int) -> float:
        """Seconds of a step, as the other worker measures them."""
        run = self._ready[name]
        run()
        _wait()
        start = time.perf_counter()
        for _ in range(steps):
            run()
        _wait()
        taken = (time.perf_counter() - start) / steps
        _give_back()
        return taken


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def _give_back() -> None:
    """Memory that no tensor holds, to the card: other workers' arms need it in their turn."""
    if DEVICE == "cuda":
        torch.cuda.empty_cache()


if __name__ == "__main__":
    steps = Steps()
    names = ("about", "ceiling", "prepare", "seconds")
    gpu_workers.serve({name: getattr(steps, name) for name in names})
