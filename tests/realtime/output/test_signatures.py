"""Signatures by C2PA: made with a certificate of one's own, read back, and broken by a change."""

import os
import stat
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import SettingsError
from realtime.commands import animate
from realtime.output import signatures
from realtime.output.contact_sheet import write_picture
from realtime.output.live_recording import LiveRecording
from realtime.output.marks import SOURCE_TYPE
from realtime.output.signatures import make_certificate, read_signature, sign
from realtime.output.video_file import VideoFile

SIZE = (64, 48)
PICTURE = np.random.default_rng(0).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)


@pytest.fixture(scope="module")
def made_certificate(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUPPET_SETTINGS", str(folder))
        make_certificate("Ada")
    return folder


@pytest.fixture
def certificate(made_certificate, monkeypatch) -> Path:
    """The settings folder of somebody who signs."""
    monkeypatch.setenv("PUPPET_SETTINGS", str(made_certificate))
    return made_certificate / "c2pa"


def write_video(path: Path, live: bool) -> Path:
    video = LiveRecording(str(path), SIZE, 30.0) if live else VideoFile(path, SIZE, 30.0)
    for number in range(5):
        video.send(PICTURE, number / 30)
    video.close()
    if live:  # as the session does at its end
        assert video.whole and read_signature(path) is None
        assert sign(path)
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("live", [False, True], ids=["drawn", "recorded"])
def test_a_video_is_signed_and_plays(tmp_path, certificate, suffix, live):
    path = write_video(tmp_path / f"puppet{suffix}", live)
    signature = read_signature(path)
    assert signature is not None and signature.state == "Valid"
    assert (signature.signer, signature.source_type) == ("Ada", SOURCE_TYPE)
    assert signature.problems == ("signingCredential.untrusted",), "nobody knows the signer"
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
        assert SOURCE_TYPE in container.metadata["comment"]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_a_picture_is_signed_and_a_change_is_noticed(tmp_path, certificate, suffix):
    path = tmp_path / f"sheet{suffix}"
    write_picture(path, PICTURE, "--sheet")
    signature = read_signature(path)
    assert signature is not None and signature.state == "Valid"
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)
    changed = read_signature(path)
    assert changed is not None and changed.state == "Invalid"


def test_what_cannot_be_signed_is_left_as_it_is(tmp_path, certificate):
    path = write_video(tmp_path / "puppet.mkv", live=False)
    assert path.is_file() and not sign(path)


def test_without_a_certificate_nothing_is_signed(tmp_path):
    path = tmp_path / "sheet.png"
    write_picture(path, PICTURE, "--sheet")
    assert read_signature(path) is None


def test_a_signature_that_fails_leaves_the_file_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path / "settings"))
    said: list[str] = []
    monkeypatch.setattr(signatures, "warn", said.append)
    make_certificate("Ada")
    (signatures.certificate_folder() / signatures.KEY).write_text("no key")
    path = tmp_path / "sheet.png"
    write_picture(path, PICTURE, "--sheet")
    assert read_signature(path) is None and sorted(os.listdir(tmp_path)) == ["settings", "sheet.png"]
    assert len(said) == 1 and "not signed" in said[0] and "c2pa init" in said[0]


def test_without_the_package_it_says_how_to_get_it(tmp_path, certificate, monkeypatch):
    said: list[str] = []
    monkeypatch.setattr(signatures, "warn", said.append)
    monkeypatch.setattr(signatures, "is_installed", lambda: False)
    write_picture(tmp_path / "sheet.png", PICTURE, "--sheet")
    assert len(said) == 1 and "pip install -e '.[c2pa]'" in said[0]
    with pytest.raises(SettingsError, match="pip install"):
        make_certificate("Ada", replace=True)


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such permissions there")
def test_a_key_is_its_owners_alone(certificate):
    assert stat.S_IMODE((certificate / signatures.KEY).stat().st_mode) == 0o600


def test_the_command_makes_a_certificate_once_and_shows_signatures(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PUPPET_SETTINGS", str(tmp_path / "settings"))
    plain, signed = tmp_path / "plain.png", tmp_path / "signed.png"
    write_picture(plain, PICTURE, "--sheet")
    assert animate.main(["c2pa", "init", "--name", "Grace"]) == 0
    assert animate.main(["c2pa", "init"]) == 2
    assert "--replace" in capsys.readouterr().err
    assert animate.main(["c2pa", "init", "--name", "Grace", "--replace"]) == 0
    write_picture(signed, PICTURE, "--sheet")
    assert animate.main(["c2pa", "show", str(signed)]) == 0
    assert f"unchanged since Grace signed it: {SOURCE_TYPE}" in capsys.readouterr().out
    assert animate.main(["c2pa", "show", str(signed), str(plain)]) == 1
    assert "not signed" in capsys.readouterr().out
    assert animate.main(["c2pa", "show", str(tmp_path / "missing.png")]) == 7
    with pytest.raises(SystemExit):
        animate.main(["c2pa", "show"])
