"""Drawing a performance on several photos while the call goes on: `render` in a process of its own, with a
low priority.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from engines.environment import videos_folder
from realtime.page.http_messages import CHUNK_BYTES, Refused
from realtime.process import program
from realtime.process.worker import Worker
from realtime.session.config import SessionConfig

ROOT = Path(__file__).parents[2]
# The clone need not be installed; below the call's own priority.
PROGRAM = (
    "import os, sys; sys.path.insert(0, sys.argv.pop(1)); getattr(os, 'nice', int)(10); "
    "from realtime.commands.animate import script; script(sys.argv.pop(1))"
)
LEAVE_S = 3.0


class Drawing:
    """One job at a time. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._worker: Worker | None = None
        self._progress: dict[str, Any] = {}
        self._videos: list[Path] = []  # that are finished
        self._fault = ""
        self._folder: Path | None = None

    def start(self, take: Path, photos: Sequence[Path], config: SessionConfig) -> None:
        """Begins to draw. Raises Refused while it does already, or where nothing can be written."""
        with self._lock:
            if self._process and self._process.poll() is None:
                raise Refused(409, "Videos are being drawn already: wait, or stop them.")
            try:
                videos_folder().mkdir(parents=True, exist_ok=True)
                self._folder = Path(tempfile.mkdtemp(prefix=f"{take.stem}-", dir=videos_folder()))
            except OSError as error:
                raise Refused(422, f"{videos_folder()} cannot be written ({error.strerror}).") from error
            self._progress, self._videos, self._fault = {"of": len(photos), "done": 0, "share": 0.0}, [], ""
            out = f"{self._folder}/{{photo}}.mp4"
            command = [
                sys.executable,
                "-c",
                PROGRAM,
                str(ROOT),
                program.name(),
                "render",
                str(take),
                *map(str, photos),
                out,
            ]
            command += ["--progress", "--engine", config.engine, *([] if config.badge else ["--no-badge"])]
            command += ["--device", "cpu" if config.device == "auto" else config.device]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            self._worker = Worker(self._follow, "drawing videos")
            self._worker.start()

    def state(self) -> dict[str, Any] | None:
        """How far it is, and what is finished; None before the first."""
        if not self._progress:
            return None
        running = self._process is not None and self._process.poll() is None
        names = [path.name for path in self._videos]
        folder = str(self._folder)
        return {**self._progress, "running": running, "videos": names, "fault": self._fault, "folder": folder}

    def parts(self, place: int) -> Generator[bytes, None, None]:
        """A video that is finished, part by part. Raises Refused where there is none."""
        if not 0 <= place < len(self._videos):
            raise Refused(404, "That video is not there.")
        return _parts(self._videos[place])

    def stop(self) -> None:
        """Ends it: finished videos stay, the one being drawn is deleted."""
        process, worker = self._process, self._worker
        if process and process.poll() is None:
            process.terminate()
            try:
                process.wait(LEAVE_S)
            except subprocess.TimeoutExpired:
                process.kill()
        if worker:
            worker.join(LEAVE_S)

    def _follow(self) -> None:
        process, folder = self._process, self._folder
        assert process and process.stdout and process.stderr and folder
        said: deque[str] = deque(maxlen=8)  # lines
        words = process.stderr
        reader = Worker(lambda: said.extend(words), "drawing's words")
        reader.start()
        for line in process.stdout:
            try:
                self._progress = {**self._progress, **json.loads(line)}
            except ValueError:
                continue
            self._videos = sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))
        status = process.wait()
        reader.join(LEAVE_S)
        self._videos = sorted(path for path in folder.glob("*.mp4") if not path.name.startswith("."))
        if status > 0 and status != 130:
            self._fault = next((line.strip() for line in reversed(said) if line.strip()), "It failed.")
        for pipe in (process.stdout, process.stderr):
            pipe.close()


def _parts(path: Path) -> Generator[bytes, None, None]:
    with path.open("rb") as file:
        while part := file.read(CHUNK_BYTES):
            yield part
