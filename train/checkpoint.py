"""A run on disk, from which it resumes exactly: tensors as safetensors, counts and settings as JSON.

Weights, moving averages, optimisers and the RNG are stored.
A checkpoint is a folder, written beside the old one and renamed over it, so that a killed run keeps its last
good one. Samples are a function of their number, so `seen` is all that the sampler has to remember, and the
learning rate follows from it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engines import atomic_file
from engines.errors import DataError
from train.data.folders import FULL

Networks = Mapping[str, nn.Module]
Optimisers = Mapping[str, torch.optim.Optimizer]


def save(
    folder: Path, networks: Networks, averages: Networks, optimisers: Optimisers, state: dict[str, Any]
) -> None:
    """Writes the checkpoint `folder`; `state` is JSON: recipe, shape, images seen, ...

    Raises DataError when the disk is full.
    """
    partial = folder.with_name(folder.name + ".part")
    atomic_file.remove(partial)
    try:
        partial.mkdir(parents=True)
        for name, network in networks.items():
            save_file(_whole(network.state_dict()), partial / f"{name}.safetensors")
            save_file(_moments(optimisers[name]), partial / f"{name}.adam.safetensors")
        for name, network in averages.items():
            save_file(_whole(network.state_dict()), partial / f"{name}.average.safetensors")
        save_file({"cpu": torch.get_rng_state()}, partial / "rng.safetensors")
        (partial / "state.json").write_text(json.dumps(state, indent=1) + "\n")
        for path in partial.iterdir():
            atomic_file.flush(path)
    except (OSError, SafetensorError) as error:
        atomic_file.remove(partial)
        if isinstance(error, SafetensorError) or error.errno in FULL:
            raise DataError(
                f"{folder} could not be written ({error}): free some disk space; the checkpoint before it is "
                "unharmed."
            ) from error
        raise
    atomic_file.replace_folder(partial, folder, folder.with_name(folder.name + ".old"))


def find(folder: Path) -> Path | None:
    """The checkpoint; the one before it when a run was killed between the two renames; or None."""
    for place in (folder, folder.with_name(folder.name + ".old")):
        if (place / "state.json").is_file():
            return place
    return None


def read_state(folder: Path) -> dict[str, Any]:
    """The JSON of a checkpoint. Raises DataError when there is none."""
    found = find(folder)
    if found is None:
        raise DataError(
            f"{folder} is not a checkpoint: give the folder that `python -m train fit --out` wrote."
        )
    try:
        return json.loads((found / "state.json").read_text())
    except ValueError as error:
        raise DataError(
            f"{found}/state.json is damaged ({error}): start a new run with another --out, or copy it back."
        ) from error


def load(folder: Path, networks: Networks, averages: Networks, optimisers: Optimisers | None = None) -> None:
    """Fills networks (and optimisers and the RNG) from a checkpoint.

    Raises DataError when it is of other networks or damaged.
    """
    found = find(folder) or folder
    try:
        for name, network in networks.items():
            network.load_state_dict(load_file(found / f"{name}.safetensors"))
        for name, network in averages.items():
            network.load_state_dict(load_file(found / f"{name}.average.safetensors"))
        if optimisers is not None:
            for name, optimiser in optimisers.items():
                _fill(optimiser, load_file(found / f"{name}.adam.safetensors"))
            torch.set_rng_state(load_file(found / "rng.safetensors")["cpu"])
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} lacks {Path(str(error.filename or error)).name}: it is a checkpoint of another recipe "
            "or incomplete."
        ) from error
    except (RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{folder} is a checkpoint of another network, or damaged: start a new run with another --out."
        ) from error


def _whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    slots = optimiser.state_dict()["state"]
    return {
        f"{i}/{k}": torch.as_tensor(v).cpu().contiguous()
        for i, slot in slots.items()
        for k, v in slot.items()
    }


def _fill(optimiser: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    moments: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        place, name = key.split("/")
        moments.setdefault(int(place), {})[name] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
