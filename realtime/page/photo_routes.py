"""The shelf of photos: thumbnails, adding, choosing, removing, who is in a photo, which of several faces."""

import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.environment import settings_folder
from engines.errors import SourceError
from engines.face.photo import load_photo
from realtime.page.http_messages import Refused, Request, Response
from realtime.page.live_view import encode
from realtime.page.main_thread import Handler, MainThread
from realtime.puppet.face_choice import MAX_FACES, from_left
from realtime.puppet.puppet import read_faces
from realtime.session import photo_shelf
from realtime.session.consent import ANSWERS, NONE_OF_THEM, settle, unanswered
from realtime.session.live_run import LiveRun
from realtime.session.photo_switcher import ShelfPhoto

MAX_PHOTO_BYTES = 50_000_000
ROOM_BYTES = 200_000_000  # that an upload leaves on the disk
THUMBNAIL_PX, PICTURE_PX = 240, 1280  # longer sides
KEPT_THUMBNAILS = 256

_decoding = threading.Lock()  # one photo at a time: a large one takes up to 800 MB while it is decoded
_uploading = threading.Lock()


class PhotoRoutes:
    """What requests about photos do."""

    def __init__(self, main_thread: MainThread):
        self._main_thread = main_thread
        self._thumbnails: OrderedDict[int, bytes] = OrderedDict()  # JPEGs, by the photos' numbers

    def looks(self) -> dict[str, Handler]:
        return {
            "/photos/thumbnail": self._thumbnail,
            "/photos/picture": self._picture,
            "/photos/faces": self._faces,
        }

    def acts(self) -> dict[str, Handler]:
        return {
            "/photos": self._add,
            "/photos/show": self._show,
            "/photos/remove": self._remove,
            "/photos/consent": self._consent,
        }

    # --- looking --------------------------------------------------------------------------------------------

    def _thumbnail(self, run: LiveRun, request: Request) -> Response:
        photo = asked_photo(run, request.query)
        data = self._thumbnails.get(photo.number)
        if data is None:
            data = _jpeg(_load(photo), THUMBNAIL_PX)
            self._thumbnails[photo.number] = data
            while len(self._thumbnails) > KEPT_THUMBNAILS:
                self._thumbnails.popitem(last=False)
        return Response(body=data, kind="image/jpeg")

    @staticmethod
    def _picture(run: LiveRun, request: Request) -> Response:
        return Response(body=_jpeg(_load(asked_photo(run, request.query)), PICTURE_PX), kind="image/jpeg")

    @staticmethod
    def _faces(run: LiveRun, request: Request) -> dict[str, Any]:
        """Boxes of the faces, from the picture's left: left, top, right, bottom, as shares of its sides."""
        photo = _load(asked_photo(run, request.query))
        with _decoding:
            faces = from_left(read_faces(photo, run.config.face_model))
        height, width = photo.shape[:2]
        sides = np.array([width, height, width, height])
        return {"faces": [(np.array(face.box_px) / sides).round(4).tolist() for face in faces]}

    # --- acting ---------------------------------------------------------------------------------------------

    def _show(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        photo, face = asked_photo(run, wanted), wanted.get("face")
        is_choice = isinstance(face, str) and face.isdecimal() and 1 <= int(face) <= MAX_FACES
        if face is not None and not is_choice:
            raise Refused(422, "There is no such face.")
        self._main_thread.ask(lambda: run.photos.choose(photo.number, face))

    def _remove(self, run: LiveRun, request: Request) -> None:
        photo = asked_photo(run, request.json())
        self._main_thread.ask(partial(_take_away, run, photo))
        self._thumbnails.pop(photo.number, None)

    def _consent(self, run: LiveRun, request: Request) -> None:
        wanted = request.json()
        photo, answer = asked_photo(run, wanted), wanted.get("answer")
        if answer == NONE_OF_THEM:  # nobody agreed: it is gone
            self._main_thread.ask(partial(_take_away, run, photo))
            return
        if answer not in ANSWERS:
            raise Refused(422, "Say who is in the photo.")
        settle([photo.path], answer)
        photo.answered = True

    def _add(self, run: LiveRun, request: Request) -> dict[str, Any]:
        """A photo that is sent: judged by its content, kept under a name of the program's."""
        with uploaded(request, MAX_PHOTO_BYTES) as file:
            try:
                with _decoding:
                    read_faces(load_photo(file), run.config.face_model)
            except SourceError as error:
                raise Refused(422, str(error).replace(str(file), "That file")) from error
            path = photo_shelf.keep(file, request.query.get("name", ""))
        answered = not unanswered([path])
        photo = self._main_thread.ask(lambda: run.photos.add(path, answered))
        photo.answered = photo.answered or answered
        return {"number": photo.number, "name": photo_shelf.called(path), "answered": photo.answered}


def asked_photo(run: LiveRun, found: Mapping[str, Any]) -> ShelfPhoto:
    """The photo that a request means, by its number. Raises Refused, SourceError."""
    number = found.get("number")
    if isinstance(number, str) and number.isdecimal() and len(number) < 10:
        number = int(number)
    if not isinstance(number, int) or isinstance(number, bool):
        raise Refused(422, "Say which photo.")
    return run.photos.photo(number)


@contextmanager
def uploaded(request: Request, most: int) -> Iterator[Path]:
    """What is sent, as a file that is there until the block ends, one at a time. Raises Refused."""
    if request.length > most:
        raise Refused(413, f"The file is too large: at most {most // 1_000_000} MB are taken.")
    if not _uploading.acquire(blocking=False):
        raise Refused(503, "Another file is being sent: try it again in a moment.")
    try:
        place = settings_folder()
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".upload-", dir=place) as folder:
            if shutil.disk_usage(folder).free < request.length + ROOM_BYTES:
                raise Refused(413, "There is too little room on the disk: free some space.")
            path = Path(folder) / "file"
            with path.open("wb") as file:
                request.save(file, most)
            yield path
    except OSError as error:
        if isinstance(error, TimeoutError | ConnectionError):
            raise
        raise Refused(422, f"The file cannot be kept ({error.strerror}): free some space.") from error
    finally:
        _uploading.release()


def _take_away(run: LiveRun, photo: ShelfPhoto) -> None:
    run.photos.remove(photo.number)
    photo_shelf.forget(photo.path)


def _load(photo: ShelfPhoto) -> np.ndarray:
    with _decoding:
        return load_photo(photo.path)


def _jpeg(image: np.ndarray, longest_px: int) -> bytes:
    scale = longest_px / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return encode(image)
