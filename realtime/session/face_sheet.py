"""A photo with its faces numbered, to choose one of them by its number."""

from pathlib import Path

from engines.errors import OutputError
from engines.face.photo import load_photo
from realtime.output.contact_sheet import SHEET_SUFFIXES, write_picture
from realtime.partial_file import check_writable
from realtime.process.log import say
from realtime.puppet.face_choice import numbered
from realtime.puppet.puppet import read_faces
from realtime.session.photo_switcher import photos

OPTION = "--face-sheet"


def write_face_sheet(source: str, path: str, face_model: Path | None = None) -> None:
    """Writes the photo, or the first of a folder, with numbered faces. Raises SourceError, OutputError."""
    if Path(path).suffix.lower() not in SHEET_SUFFIXES:
        suffixes = " or ".join(sorted(SHEET_SUFFIXES))
        raise OutputError(f"{OPTION} {path} is not a picture's name: end it with {suffixes}.")
    check_writable(path, OPTION)
    photo_path = photos(source, say)[0]
    if photo_path.resolve() == Path(path).resolve():
        raise OutputError(f"{path} would be written over what is read: choose another name.")
    photo = load_photo(photo_path, say)
    faces = read_faces(photo, face_model)
    write_picture(Path(path), numbered(photo, faces), OPTION)
    say(f"wrote {path}: {photo_path} with {len(faces)} numbered faces, for --face")
