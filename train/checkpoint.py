"""A run on disk, from which it goes on exactly: weights, average, optimiser as safetensors; counts and settings as JSON.

A checkpoint is a folder, written beside the old one and renamed over it, so that a killed run keeps its last good one.
Pairs are a function of their number, so `seen` is all that the sampler has to remember.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from engines.errors import DataError


def save(folder: Path, network: torch.nn.Module, average: torch.nn.Module, optimiser: torch.optim.Optimizer, state: dict) -> None:
    """Writes the checkpoint `folder`; `state` is JSON: shape, seed, images seen, ..."""
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, partial / "network.safetensors")
    save_file({k: v.contiguous() for k, v in average.state_dict().items()}, partial / "average.safetensors")
    moments = optimiser.state_dict()["state"]
    save_file(
        {f"{i}/{k}": torch.as_tensor(v).contiguous() for i, slot in moments.items() for k, v in slot.items()},
        partial / "optimiser.safetensors",
    )
    (partial / "state.json").write_text(json.dumps(state, indent=1) + "\n")
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def read_state(folder: Path) -> dict:
    """The JSON of a checkpoint. Raises DataError when there is none."""
    if not (folder / "state.json").is_file():
        raise DataError(f"{folder} is not a checkpoint: give the folder that `python -m train fit --out` wrote.")
    return json.loads((folder / "state.json").read_text())


def load(folder: Path, network: torch.nn.Module, average: torch.nn.Module, optimiser: torch.optim.Optimizer | None) -> None:
    """Fills networks (and the optimiser) from a checkpoint. Raises DataError when it is of another network."""
    try:
        network.load_state_dict(load_file(folder / "network.safetensors"))
        average.load_state_dict(load_file(folder / "average.safetensors"))
    except RuntimeError as error:
        raise DataError(f"{folder} is a checkpoint of another network: start a new one with another --out.") from error
    if optimiser is None:
        return
    flat = load_file(folder / "optimiser.safetensors")
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in flat.items():
        place, name = key.split("/")
        moments.setdefault(int(place), {})[name] = value
    whole = optimiser.state_dict()
    optimiser.load_state_dict({"state": moments, "param_groups": whole["param_groups"]})
