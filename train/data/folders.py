"""Folders on a disk that may be full or read-only: a message for the user."""

import errno
from pathlib import Path

from engines.errors import DataError, PuppetError

FULL = {errno.ENOSPC, errno.EDQUOT}
READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def make_folder(folder: Path, fault: type[PuppetError] = DataError) -> None:
    """Makes a folder where there is none.

    Raises `fault` when it cannot: before an hour of work, not after it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise fault(
            f"The folder {folder} cannot be made ({error.strerror or error}): choose another --out."
        ) from error
