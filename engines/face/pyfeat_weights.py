"""Where py-feat's weights are: a file that the user names, or py-feat's own download. Imports nothing of py-feat, so that it answers at once.

Nothing is fetched unless the user says `download`, as with the face model; and what cannot be fetched is told within a second, where the
hub's own client would try again for most of a minute. Only .safetensors are taken: they hold numbers, a .pt can hold a program.

The weights are for research, not for commerce (py-feat's LICENSES/PYFEAT-V2.md), unlike its code.
"""

import hashlib
import os
import socket
import threading
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from engines.errors import EngineError

# What py-feat 2.1.5 asks its hub for; tests compare them with the installed package.
REPOSITORY, FILE = "py-feat/face_multitask_v2", "face_multitask_v28.safetensors"
DOWNLOAD = "download"
REACHABLE_S = 0.8  # to hear of the hub at all; a slow line answers in .3
SHA256_DIGITS = 64
OPTION = "--pyfeat-weights"
ELSE = f"run once with {OPTION} {DOWNLOAD} while online, or name the file with {OPTION} FILE.safetensors"


def find_weights(wanted: str | None = None) -> Path:
    """The weights, checked: `wanted` is a file, FILE@SHA256, `download`, or None for an earlier download. Raises EngineError within a second.

    A file with a pin must have that SHA-256. A download has one too: the hub's cache names it by its SHA-256.
    """
    folder = hub_folder()
    if wanted and wanted != DOWNLOAD:
        name, pin = split_pin(wanted)
        return _checked(
            Path(name), pin, f"give the file that belongs to the pin, or leave the pin out of {OPTION}"
        )
    found = _downloaded(folder)
    if found is None and wanted == DOWNLOAD:
        found = _download(folder)
    if found is None:
        raise EngineError(f"py-feat's weights are not on this machine: {ELSE}.")
    stored = found.resolve().name  # a link into blobs/, where files are named by what they hold
    return _checked(
        found,
        stored if _is_sha256(stored) else None,
        f"delete {found.resolve()} and run with {OPTION} {DOWNLOAD}",
    )


def split_pin(text: str) -> tuple[str, str | None]:
    """FILE@SHA256 -> the file and its pin; None where there is none."""
    name, at, pin = text.rpartition("@")
    return (name, pin.lower()) if at and _is_sha256(pin.lower()) else (text, None)


def hub_folder() -> Path:
    """Where py-feat keeps what it downloads. Raises EngineError where py-feat is not installed."""
    spec = find_spec("feat")  # found, not imported: that takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("py-feat is not installed: pip install -e '.[pyfeat]', or choose --aus mediapipe.")
    return Path(spec.submodule_search_locations[0]) / "resources"


def _downloaded(folder: Path) -> Path | None:
    """The newest snapshot in the hub's cache, or None."""
    repository = folder / f"models--{REPOSITORY.replace('/', '--')}"
    found = [path for path in repository.glob(f"snapshots/*/{FILE}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def _download(folder: Path) -> Path:
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise EngineError(
            "py-feat's weights cannot be fetched, since HF_HUB_OFFLINE is set: unset it, or copy the file from another machine."
        )
    if not reachable(hub):
        raise EngineError(
            f"py-feat's weights cannot be fetched: {urlsplit(hub).netloc} does not answer; {ELSE}."
        )
    try:
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repo_id=REPOSITORY, filename=FILE, cache_dir=str(folder)))
    except (
        Exception
    ) as error:  # its errors are of several HTTP libraries and of the disk; all of them mean the same here
        reason = " ".join(str(error).split())[:200]
        raise EngineError(
            f"py-feat's weights could not be fetched ({type(error).__name__}: {reason}): {ELSE}."
        ) from error


def reachable(url: str, timeout_s: float = REACHABLE_S) -> bool:
    """Whether a host (or the proxy that leads to it) takes a connection. Looking up a name can hang for long: hence a thread."""
    proxy = (
        None
        if urllib.request.proxy_bypass(urlsplit(url).hostname or "")
        else urllib.request.getproxies().get("https")
    )
    place = urlsplit(proxy if proxy and "//" in proxy else url)
    heard = threading.Event()

    def knock() -> None:
        try:
            port = place.port or (443 if place.scheme == "https" else 80)
            socket.create_connection((place.hostname, port), timeout_s).close()
        except (OSError, ValueError):  # no answer; no address
            return
        heard.set()

    knocking = threading.Thread(target=knock, name="hub", daemon=True)
    knocking.start()
    knocking.join(timeout_s)
    return heard.is_set()


def _checked(path: Path, pin: str | None, cure: str) -> Path:
    if not os.path.isfile(path):
        raise EngineError(f"There are no weights of py-feat at {path}: check the path given to {OPTION}.")
    if path.suffix != ".safetensors":
        raise EngineError(f"{path} is no .safetensors file: other formats can hold programs; {ELSE}.")
    if pin is not None:
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineError(f"{path} cannot be read ({error.strerror}): check its permissions.") from error
        if digest != pin:
            raise EngineError(
                f"{path} is not what was pinned (SHA-256 {digest[:12]}..., wanted {pin[:12]}...): {cure}."
            )
    return path


def _is_sha256(text: str) -> bool:
    return len(text) == SHA256_DIGITS and set(text) <= set("0123456789abcdef")
