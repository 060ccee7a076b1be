"""Where a run happens: device, precision, processes. The only file that knows Hugging Face Accelerate.

Accelerate and not Lightning Fabric: it starts from `accelerate launch` or from plain `python` alike, reads
the cluster from the environment, and asks nothing of the training loop. Used for that, for autocast and for
collectives; not for wrapping networks: DistributedDataParallel averages gradients during one backward of one
forward, while a critic with a penalty has three forwards and a gradient inside its loss. Gradients are
averaged here after backward instead: one flat tensor, one reduction a turn.
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from accelerate import Accelerator
from accelerate.utils import AutocastKwargs, is_bf16_available
from torch import Tensor, nn

from engines.errors import DataError


def computes_in_bf16() -> bool:
    """Whether this machine's device computes in bf16 rather than imitating it, as PyTorch does on AVX2.

    Training the compact generator, that took eight times as long as full precision.
    """
    if torch.cuda.is_available():
        return is_bf16_available()
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return supported is None or bool(supported())


class ProcessGroup:
    """This process among the run's processes. Everything it returns is the same on all of them."""

    def __init__(self, bf16: bool = True):
        """bf16: compute in it where that is faster. Raises DataError when a GPU has none."""
        available = is_bf16_available()
        if bf16 and not available:
            raise DataError("This device does not compute in bf16: add --fp32.")
        self.notes: list[str] = []  # for the user
        if bf16 and not computes_in_bf16():
            self.notes.append("This CPU only imitates bf16, which is slow: full precision is used.")
            bf16 = False
        # Accelerate keeps one setting a process, so full precision is autocast turned off.
        self._accelerator = Accelerator(mixed_precision="bf16" if available else "no")
        self._precision = AutocastKwargs(enabled=bf16)

    @property
    def device(self) -> torch.device:
        return self._accelerator.device

    @property
    def rank(self) -> int:
        return self._accelerator.process_index

    @property
    def processes(self) -> int:
        return self._accelerator.num_processes

    @property
    def main(self) -> bool:
        """Whether this process writes files and talks."""
        return self._accelerator.is_main_process

    def autocast(self) -> AbstractContextManager:
        return self._accelerator.autocast(self._precision)

    def average_gradients(self, networks: Iterable[nn.Module]) -> None:
        """Replaces each parameter's gradient by its mean over the processes."""
        if self.processes == 1:
            return
        grads = [p.grad for network in networks for p in network.parameters() if p.grad is not None]
        flat = self._accelerator.reduce(torch.cat([grad.flatten() for grad in grads]), "mean")
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def mean(self, scalars: dict[str, Tensor | float]) -> dict[str, float]:
        """Scalars averaged over the processes."""
        values = torch.stack(
            [torch.as_tensor(value, dtype=torch.float32, device=self.device) for value in scalars.values()]
        )
        if self.processes > 1:
            values = self._accelerator.reduce(values, "mean")
        return dict(zip(scalars, values.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is up on any process."""
        return flag if self.processes == 1 else self.mean({"flag": float(flag)})["flag"] > 0

    def wait(self) -> None:
        """Until every process is here."""
        self._accelerator.wait_for_everyone()

    def close(self) -> None:
        if self.processes > 1:
            self._accelerator.end_training()
