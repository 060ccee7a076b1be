"""Audio-video synchronisation: the arithmetic over a simulated hour, a recording with a click and a flash,
a lost microphone."""

import errno
import subprocess
import sys
import threading
import time
from pathlib import Path

import av
import numpy as np
import pytest

from engines.errors import DriverError
from realtime.audio.av_sync import RATE_HZ, BlockClock, DriftCompensator
from realtime.audio.microphone import MAX_QUEUED, Microphone, alsa_cards, microphones, open_system_device
from realtime.commands import animate
from realtime.output.live_recording import LiveRecording
from realtime.process.backoff import Backoff
from realtime.session import live_outputs
from realtime.timing import Timings
from tests.conftest import SAMPLES
from tests.realtime.output.test_live_recording import times
from tests.support.waiting import PATIENCE_S, wait_for

SIZE, FPS = (64, 48), 30
DARK, LIGHT = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8)
STEP = RATE_HZ // 100  # samples in a block of the fake: 10 ms


# --- the arithmetic
# ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift", [200e-6, -200e-6, 0.0])
def test_a_clock_that_drifts_for_an_hour_stays_in_step(drift):
    """Blocks of 50 ms by the microphone's clock, read up to 20 ms late: 200 ppm would be 0.7 s after an
    hour."""
    step = DriftCompensator()
    clock = BlockClock()
    late_s = np.random.default_rng(0).uniform(0, 0.02, 72_000)
    block = np.zeros(RATE_HZ // 20, np.float32)
    apart_s = []
    stretched = 0
    for number in range(72_000):
        true_s = number * 0.05 * (1 + drift)
        apart_s.append(true_s - step.samples / RATE_HZ)
        given = step.add(block, clock.start_s(len(block), true_s + 0.05 * (1 + drift) + late_s[number]))
        stretched = max(stretched, abs(len(given) - len(block)) if number else 0)
    assert max(np.abs(apart_s)) < 0.025 and max(np.abs(apart_s[200:])) < 0.005
    assert stretched <= len(block) * DriftCompensator.MAX_STRETCH + 1


def test_blocks_that_come_all_at_once_after_a_stall_keep_their_times():
    clock = BlockClock()
    step = DriftCompensator()
    recorded = np.arange(300 * STEP, dtype=np.float32).reshape(300, STEP)
    given = []
    for number, block in enumerate(recorded):
        read_s = max(1.4, number * 0.01) if number >= 100 else number * 0.01  # 0.4 s of nothing
        given.append(step.add(block, 0.01 + clock.start_s(STEP, read_s)))
    assert np.array_equal(np.concatenate(given), recorded.ravel())


def test_samples_that_a_driver_lost_are_replaced():
    clock, step = BlockClock(), DriftCompensator()
    for number in [*range(100), *range(140, 400)]:
        step.add(np.zeros(STEP, np.float32), 0.01 + clock.start_s(STEP, number * 0.01))
    assert step.samples / RATE_HZ == pytest.approx(4.0, abs=0.01)


def test_samples_are_not_changed_while_the_clocks_agree():
    step = DriftCompensator()
    recorded = np.random.default_rng(0).uniform(-1, 1, (100, STEP)).astype(np.float32)
    given = np.concatenate([step.add(block, number * 0.01) for number, block in enumerate(recorded)])
    assert np.array_equal(given, recorded.ravel())


def test_stretching_keeps_a_tone_a_tone():
    step, pieces = DriftCompensator(), []
    tone = np.sin(np.arange(RATE_HZ * 4) * 2 * np.pi * 440 / RATE_HZ).astype(np.float32)
    for number in range(400):
        pieces.append(step.add(tone[number * STEP : (number + 1) * STEP], number * 0.01 * 1.002))
    given = np.concatenate(pieces)
    assert len(given) > len(tone), "it was stretched"
    assert np.abs(np.diff(given)).max() < 1.5 * np.abs(np.diff(tone)).max(), "without a click"


def test_sound_from_before_the_first_picture_is_cut_and_a_late_beginning_is_silent():
    early, late = DriftCompensator(), DriftCompensator()
    assert len(early.add(np.ones(STEP, np.float32), -0.004)) == round(0.006 * RATE_HZ)
    given = late.add(np.ones(STEP, np.float32), 0.5)
    assert len(given) == RATE_HZ // 2 + STEP and given[: RATE_HZ // 2].max() == 0


def test_a_gap_is_filled_in_pieces_and_what_follows_is_synchronised():
    step = DriftCompensator()
    step.add(np.ones(STEP, np.float32), 0)
    longest = 0
    while len(silence := step.silence_until(3600)):
        longest = max(longest, len(silence))
    assert longest <= DriftCompensator.MAX_SILENCE_S * RATE_HZ and step.samples == 3600 * RATE_HZ
    given = step.add(np.ones(STEP, np.float32), 3600.5)
    assert len(given) == RATE_HZ // 2 + STEP


def test_a_change_of_the_delay_that_lasts_is_followed_soon():
    step = DriftCompensator()
    for number in range(200):
        step.add(np.zeros(STEP, np.float32), number * 0.01)
    for number in range(200, 210):
        step.add(np.zeros(STEP, np.float32), number * 0.01 + 0.12)
    assert step.samples / RATE_HZ - 2.1 == pytest.approx(0.12, abs=0.01)


# --- a microphone
# ------------------------------------------------------------------------------------------------------


class FakeDevice:
    """A microphone with a click at one moment and silence otherwise, in real time; `fault` unplugs it."""

    def __init__(self, click_s: float = 0.0):
        self._click_s, self._start_s, self._given = click_s, time.perf_counter(), 0
        self.fault: OSError | None = None
        self.closed = False

    def read(self) -> np.ndarray:
        self._given += STEP
        time.sleep(max(0.0, self._start_s + self._given / RATE_HZ - time.perf_counter()))
        if self.fault:
            raise self.fault
        times_s = self._start_s + (self._given - STEP + np.arange(STEP)) / RATE_HZ
        return np.where(np.abs(times_s - self._click_s) < 0.002, 0.8, 0.0).astype(np.float32)

    def close(self) -> None:
        self.closed = True


def record(
    path: Path,
    device: FakeDevice,
    seconds: float,
    flash_s: float = 0.0,
    delay_s: float = 0.0,
    notify=lambda _sentence: None,
) -> Microphone:
    """In real time: pictures that show, delay_s later, a flash of 50 ms at flash_s."""
    microphone = Microphone("fake", notify, open_device=lambda _name: device)
    recording, start_s = LiveRecording(path, SIZE, FPS, microphone, lambda: delay_s), time.perf_counter()
    for number in range(round(seconds * FPS)):
        time.sleep(max(0.0, start_s + number / FPS - time.perf_counter()))
        shown_s = start_s + number / FPS - delay_s
        recording.send(LIGHT if 0 <= shown_s - flash_s < 0.05 else DARK, 100 + number / FPS)
    recording.close()
    microphone.close()
    assert device.closed
    return microphone


def sound(path: Path) -> tuple[np.ndarray, float]:
    """(n,) the samples of a file, and the time of the first in seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]), float(frames[0].time)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_click_and_a_flash_at_one_moment_are_at_one_moment_in_the_file(tmp_path, suffix):
    path, moment_s = tmp_path / f"take{suffix}", time.perf_counter() + 1.2
    record(path, FakeDevice(moment_s), 2.0, moment_s, delay_s=0.15)
    samples, first_s = sound(path)
    click_s = first_s + int(np.argmax(np.abs(samples))) / RATE_HZ
    assert np.abs(samples).max() > 0.2
    with av.open(str(path)) as container:
        assert {stream.codec_context.name for stream in container.streams} == {"h264", "aac"}
        flash_s = next(
            frame.time for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 128
        )
    assert abs(click_s - flash_s) < 0.04, f"click at {click_s:.3f}, flash at {flash_s:.3f}"
    assert len(samples) / RATE_HZ == pytest.approx(2.0, abs=0.25), "sound and pictures end together"


def test_an_unplugged_microphone_is_reported_once_leaves_silence_and_comes_back(tmp_path):
    said, attempts, devices = [], [], []

    def open_fake(_name: str) -> FakeDevice:
        attempts.append(1)
        if len(attempts) in (2, 3):
            raise DriverError("It is not there.")
        devices.append(FakeDevice())
        return devices[-1]

    microphone = Microphone("fake", said.append, open_fake, backoff=Backoff(0.05, 0.05))
    recording, start_s = LiveRecording(tmp_path / "take.mp4", SIZE, FPS, microphone), time.perf_counter()
    for number in range(60):
        time.sleep(max(0.0, start_s + number / FPS - time.perf_counter()))
        recording.send(DARK, number / FPS)
        if number == 20:
            devices[0].fault = OSError(19, "No such device")
    recording.close()
    microphone.close()
    assert len(said) == 2 and "goes on in silence" in said[0] and said[1].endswith("is back.")
    samples, _ = sound(tmp_path / "take.mp4")
    assert len(samples) / RATE_HZ == pytest.approx(2.0, abs=0.25)


def test_a_microphone_that_hangs_is_reported_and_silence_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr("realtime.audio.microphone.SILENT_S", 0.3)
    monkeypatch.setattr(DriftCompensator, "LATE_S", 0.1)
    device, said, hang = FakeDevice(), [], threading.Event()
    monkeypatch.setattr(device, "read", lambda: hang.wait(20) and np.zeros(STEP, np.float32))
    microphone = Microphone("fake", said.append, open_device=lambda _name: device)
    recording, start_s = LiveRecording(tmp_path / "take.mp4", SIZE, FPS, microphone), time.perf_counter()
    for number in range(30):
        time.sleep(max(0.0, start_s + number / FPS - time.perf_counter()))
        recording.send(DARK, number / FPS)
    recording.close()
    assert len(said) == 1 and "gives no sound" in said[0]
    assert len(sound(tmp_path / "take.mp4")[0]) / RATE_HZ == pytest.approx(1.0, abs=0.25)
    hang.set()
    microphone.close()


def test_a_muted_microphone_passes_on_silence():
    device = FakeDevice(click_s=time.perf_counter() + 0.1)
    microphone = Microphone("fake", open_device=lambda _name: device)
    subscription = microphone.subscribe()
    microphone.muted = True
    blocks = []
    wait_for(lambda: blocks.extend(subscription.take()) or len(blocks) > 30, interval_s=0.002)
    microphone.close()
    assert max(np.abs(block.samples).max() for block in blocks) == 0


def test_every_recording_of_a_live_run_delays_its_sound_as_much_as_its_pictures(tmp_path):
    timings = Timings()
    timings.add("capture to output", 0.2)
    recording = live_outputs.open_live_output(str(tmp_path / "take.mp4"), SIZE, FPS, None, timings)
    assert recording._delay_s() == pytest.approx(0.2)
    recording.close()


def test_recordings_that_have_ended_are_no_longer_subscribed(tmp_path):
    microphone = Microphone("fake", open_device=lambda _name: FakeDevice())
    for number in range(3):
        LiveRecording(tmp_path / f"{number}.mp4", SIZE, FPS, microphone).close()
    subscription = microphone.subscribe()
    assert microphone._subscriptions == (subscription,)
    microphone.close()


def test_a_subscriber_that_never_reads_takes_no_more_memory_with_time():
    device = FakeDevice()
    device._start_s -= 1000  # everything is there at once
    microphone = Microphone("fake", open_device=lambda _name: device)
    subscription = microphone.subscribe()
    wait_for(lambda: device._given > 3 * MAX_QUEUED * STEP, interval_s=0.002)
    microphone.close()
    assert len(subscription.take()) == MAX_QUEUED


def test_a_missing_microphone_is_one_sentence_before_anything_starts():
    def open_fake(name: str) -> FakeDevice:
        raise DriverError(f"There is no microphone named {name}.")

    before = threading.active_count()
    with pytest.raises(DriverError, match="Jabra"):
        Microphone("Jabra", open_device=open_fake)
    wait_for(lambda: threading.active_count() == before)


# --- this system's
# -----------------------------------------------------------------------------------------------------


def card(folder: Path, number: int, name: str, label: str, captures: bool = True) -> None:
    (folder / f"card{number}" / ("pcm0c" if captures else "pcm0p")).mkdir(parents=True)
    (folder / f"card{number}" / "id").write_text(name + "\n")
    with open(folder / "cards", "a") as cards:
        cards.write(f" {number} [{name:15}]: USB-Audio - {label}\n")
        cards.write(f"{'':22}{label} at usb-1, full speed\n")


@pytest.mark.skipif(sys.platform != "linux", reason="ALSA is Linux's")
def test_on_linux_microphones_have_the_names_of_their_cards(tmp_path, monkeypatch):
    monkeypatch.setattr("realtime.audio.microphone.CARDS", tmp_path)
    card(tmp_path, 0, "HDMI", "HDA NVidia", captures=False)
    card(tmp_path, 1, "Link", "Jabra Link 380")
    assert alsa_cards() == {"1": "USB-Audio - Jabra Link 380"} and microphones() == [
        "USB-Audio - Jabra Link 380"
    ]
    with pytest.raises(DriverError, match="no microphone named Yeti: this machine has") as caught:
        open_system_device("Yeti")
    assert "Jabra" in str(caught.value) and str(caught.value).endswith(".")
    with pytest.raises(DriverError, match="cannot be opened"):
        open_system_device("jabra")


@pytest.mark.skipif(sys.platform != "linux", reason="ALSA is Linux's")
def test_a_busy_microphone_is_reported_with_the_way_to_share_it(tmp_path, monkeypatch):
    def busy(*_arguments) -> FakeDevice:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr("realtime.audio.microphone.CARDS", tmp_path)
    monkeypatch.setattr("realtime.audio.microphone.FfmpegDevice", busy)
    card(tmp_path, 1, "Link", "Jabra Link 380")
    with pytest.raises(
        DriverError, match=r"in use by another program: close it, or take --sound without a name"
    ):
        open_system_device("jabra")


@pytest.mark.skipif(sys.platform != "linux", reason="ALSA is Linux's")
def test_alsa_itself_opens_and_gives_samples_by_the_systems_settings():
    """In a process of its own: ALSA reads its settings once."""
    if not Path("/usr/share/alsa/alsa.conf").exists():
        pytest.skip("this machine has no ALSA settings")
    code = """
from realtime.audio.microphone import open_system_device
device = open_system_device("null")
print(sum(len(device.read()) for _ in range(50)) > 0)
device.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
        timeout=PATIENCE_S,
    )
    assert done.stdout.strip() == "True" and "/tmp/vendor" not in done.stderr, done.stderr


# --- the whole program
# -------------------------------------------------------------------------------------------------


def test_a_call_is_recorded_with_its_sound_beside_the_virtual_camera(tmp_path, capsys, monkeypatch):
    import pyvirtualcam

    from tests.realtime.output.test_virtual_camera import backend

    kind, devices = backend(), []

    def open_fake(_name: str) -> FakeDevice:
        devices.append(FakeDevice(time.perf_counter() + 1.0))
        return devices[-1]

    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {"fake": kind})
    monkeypatch.setattr("realtime.audio.microphone.open_system_device", open_fake)
    path = tmp_path / "call.mp4"
    arguments = [
        "--source",
        SAMPLES / "man.jpg",
        "--driver",
        SAMPLES / "smile.csv",
        "--output",
        "vcam:fake",
        "--output",
        path,
        "--sound",
    ]
    status = animate.main([*map(str, arguments), "--size", "320x240", "--seconds", "2"])
    said = capsys.readouterr().err
    assert status == 0 and f"wrote {path}: " in said, said
    assert kind.opened[0].sent > 20 and kind.opened[0].closed and devices[0].closed
    samples, _ = sound(path)
    assert np.abs(samples).max() > 0.2, "the click is there"
    assert times(path)[-1] > 1.2


@pytest.mark.skipif(sys.platform != "linux", reason="the fake is of ALSA's cards")
def test_a_microphone_that_is_missing_ends_the_program_before_it_starts(tmp_path, capsys, monkeypatch):
    import pyvirtualcam

    from tests.realtime.output.test_virtual_camera import backend

    kind = backend()
    monkeypatch.setattr(pyvirtualcam.camera, "BACKENDS", {"fake": kind})
    monkeypatch.setattr("realtime.audio.microphone.CARDS", tmp_path)
    path = tmp_path / "call.mp4"
    arguments = [
        "--source",
        SAMPLES / "man.jpg",
        "--driver",
        SAMPLES / "smile.csv",
        "--output",
        "vcam",
        "--output",
        path,
        "--sound",
        "Yeti",
    ]
    assert animate.main([*map(str, arguments)]) == 4
    assert "no microphone named Yeti" in capsys.readouterr().err.splitlines()[-1]
    assert kind.opened == [] and not path.exists()
