"""Groups of faces of one person."""

import numpy as np


def within_groups(group: np.ndarray):
    """A function that takes each group's mean from (N, ...) rows."""
    _, place, counts = np.unique(group, return_inverse=True, return_counts=True)

    def centred(rows: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(counts), *rows.shape[1:]), np.float64)
        np.add.at(sums, place, rows)
        return rows - (sums / counts.reshape(-1, *[1] * (rows.ndim - 1)))[place]

    return centred
