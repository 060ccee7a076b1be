"""Faces kept on the training device: every crop is decoded once, and a batch is cut out of them there.

For GPUs that would wait for JPEG decoding. A corpus of N faces takes 3 S^2 N bytes of the device's memory:
1.4 GB for 28,000 at 128 px. Samples are those of train.data.faces, but for how pixels are interpolated:
jitter after shrinking, not before.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torch.utils.data import Dataset

from engines.errors import DataError
from train.data.faces import FaceSamples
from train.data.jitter import draw_jitter


class ResidentFaces(Dataset):
    """Samples of FaceSamples with `row` and `old_from_new` for the picture; `fill` makes pictures of these.

    Raises DataError when the device has too little memory.
    """

    def __init__(self, faces: FaceSamples, device: torch.device):
        self._faces, size = faces, faces.size_px
        self._row = np.full(len(faces.corpus), -1, np.int32)
        self._row[faces.order.faces] = np.arange(len(faces.order.faces), dtype=np.int32)
        try:
            self._pictures = torch.empty(
                (len(faces.order.faces), size, size, 3), dtype=torch.uint8, device=device
            )
        except (RuntimeError, MemoryError) as error:  # out of memory on a GPU, or on a CPU
            gib = len(faces.order.faces) * size * size * 3 / 2**30
            raise DataError(
                f"{device} has no room for {gib:.1f} GiB of faces: leave out --resident, or choose a smaller "
                "--size."
            ) from error
        for row, face in enumerate(faces.order.faces):
            self._pictures[row] = torch.from_numpy(
                np.ascontiguousarray(faces.sized(faces.corpus.picture(int(face))))
            )

    def __len__(self) -> int:
        return len(self._faces)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        rng = self._faces.rng(number)
        mirror, matrix = draw_jitter(self._faces.size_px, rng)
        old_from_new = cv2.invertAffineTransform(matrix)
        if mirror:
            old_from_new[0] *= -1
            old_from_new[0, 2] += self._faces.size_px - 1
        row = self._row[self._faces.order[number]]
        return {
            "row": np.array(row, np.int64),
            "old_from_new": old_from_new.astype(np.float32),
            **self._faces.labels(number, rng, mirror),
        }

    def fill(self, samples: dict[str, Tensor]) -> dict[str, Tensor]:
        """Samples on the device -> the same with `picture` (B, S, S, 3) uint8."""
        size = self._faces.size_px
        steps = torch.arange(size, device=self._pictures.device, dtype=torch.float32)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        new = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # (S, S, 3)
        old = torch.einsum("hwk,bck->bhwc", new, samples["old_from_new"])  # (B, S, S, 2) pixels
        whole = self._pictures[samples["row"]].permute(0, 3, 1, 2).float()
        moved = grid_sample(
            whole, old * (2 / (size - 1)) - 1, mode="bilinear", padding_mode="border", align_corners=True
        )
        rest = {name: value for name, value in samples.items() if name not in ("row", "old_from_new")}
        return {"picture": moved.add_(0.5).clamp_(0, 255).byte().permute(0, 2, 3, 1), **rest}
