"""Where py-feat's weights are: a file that the user names, or py-feat's own download.

Imports nothing of py-feat, so that it answers at once.

Nothing is fetched unless the user asks for `download`, as with the face model; and what cannot be fetched is
reported within a second, where the hub's own client would try again for most of a minute. Only .safetensors
are taken: they hold numbers, a .pt can hold a program.

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
from engines.foreign_errors import DOWNLOADED_WEIGHTS, MEDIAPIPE, WEIGHTS_FILE, mapped

# What py-feat 2.1.5 asks its hub for; tests compare them with the installed package.
REPOSITORY = "py-feat/face_multitask_v2"
FILE = "face_multitask_v28.safetensors"
DOWNLOAD = "download"
CONNECT_TIMEOUT_S = 0.8  # for the hub's first answer; a slow line needs .3
SHA256_DIGITS = 64


def find_weights(wanted: str | None = None) -> Path:
    """The file of the weights, checked.

    A file with a pin must have that SHA-256. A download has a pin, too: the hub's cache names it by its
    SHA-256.

    Args:
        wanted: a file, FILE@SHA256, DOWNLOAD, or None for an earlier download.

    Raises:
        EngineError: within a second, when the weights are missing, cannot be fetched, or are not what the pin
            names.
    """
    folder = hub_folder()
    if wanted and wanted != DOWNLOAD:
        name, pin = split_pin(wanted)
        return _checked(Path(name), pin, "give the file that belongs to the pin", "leave the pin out")
    found = _downloaded(folder)
    if found is None and wanted == DOWNLOAD:
        found = _download(folder)
    if found is None:
        raise EngineError("py-feat's weights are not on this machine", DOWNLOADED_WEIGHTS, WEIGHTS_FILE)
    blob = found.resolve()  # in blobs/, where files are named by their SHA-256
    return _checked(
        found, blob.name if _is_sha256(blob.name) else None, f"delete {blob} and download it again"
    )


def split_pin(text: str) -> tuple[str, str | None]:
    """FILE@SHA256 -> the file and its pin; None where there is none."""
    name, at, pin = text.rpartition("@")
    return (name, pin.lower()) if at and _is_sha256(pin.lower()) else (text, None)


def hub_folder() -> Path:
    """Where py-feat keeps what it downloads. Raises EngineError where py-feat is not installed."""
    spec = find_spec("feat")  # found, not imported: that takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise EngineError("py-feat is not installed", "pip install -e '.[pyfeat]'", MEDIAPIPE)
    return Path(spec.submodule_search_locations[0]) / "resources"


def _downloaded(folder: Path) -> Path | None:
    """The newest snapshot in the hub's cache, or None."""
    repository = folder / f"models--{REPOSITORY.replace('/', '--')}"
    found = [path for path in repository.glob(f"snapshots/*/{FILE}") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def _download(folder: Path) -> Path:
    """Fetches the weights into the hub's cache. Raises EngineError."""
    hub = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on"):
        raise EngineError(
            "py-feat's weights cannot be fetched, since HF_HUB_OFFLINE is set",
            "unset it",
            "copy the file from another machine",
        )
    if not reachable(hub):
        raise EngineError(
            f"py-feat's weights cannot be fetched, as {urlsplit(hub).netloc} does not answer",
            "try again while online",
            WEIGHTS_FILE,
        )
    with mapped("pyfeat.download"):
        from huggingface_hub import hf_hub_download

        return Path(hf_hub_download(repo_id=REPOSITORY, filename=FILE, cache_dir=str(folder)))


def reachable(url: str, timeout_s: float = CONNECT_TIMEOUT_S) -> bool:
    """Whether a host, or the proxy that leads to it, accepts a connection within timeout_s.

    Runs in a thread of its own, as looking up a name can hang for long.
    """
    proxy = (
        None
        if urllib.request.proxy_bypass(urlsplit(url).hostname or "")
        else urllib.request.getproxies().get("https")
    )
    place = urlsplit(proxy if proxy and "//" in proxy else url)
    connected = threading.Event()

    def connect() -> None:
        try:
            port = place.port or (443 if place.scheme == "https" else 80)
            socket.create_connection((place.hostname or "", port), timeout_s).close()
        except (OSError, ValueError):  # no answer; no address
            return
        connected.set()

    connecting = threading.Thread(target=connect, name="hub", daemon=True)
    connecting.start()
    connecting.join(timeout_s)
    return connected.is_set()


def _checked(path: Path, pin: str | None, *remedies: str) -> Path:
    """The path of a .safetensors that has the pinned SHA-256.

    Raises EngineError; remedies: for another SHA-256.
    """
    if not os.path.isfile(path):
        raise EngineError(f"There are no weights of py-feat at {path}", "check the path", DOWNLOADED_WEIGHTS)
    if path.suffix != ".safetensors":
        raise EngineError(
            f"{path} is no .safetensors file; other formats can hold programs",
            DOWNLOADED_WEIGHTS,
            WEIGHTS_FILE,
        )
    if pin is not None:
        try:
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise EngineError(f"{path} cannot be read ({error.strerror})", "check its permissions") from error
        if digest != pin:
            raise EngineError(
                f"{path} is not what was pinned (SHA-256 {digest[:12]}..., wanted {pin[:12]}...)", *remedies
            )
    return path


def _is_sha256(text: str) -> bool:
    return len(text) == SHA256_DIGITS and set(text) <= set("0123456789abcdef")
