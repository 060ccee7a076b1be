"""Drivers, outputs, presets and performances, chosen over HTTP: each reaches the running puppet."""

import json
import shutil
import time

import cv2
import numpy as np
import pytest

from engines.face.action_units import EXPRESSION
from realtime.page import run_routes
from realtime.performance.load import load_curve
from realtime.puppet import settings
from realtime.session.performance_library import UNDO_STEPS
from tests.support.page_client import SAMPLES, SIZE, acting_page, running_page
from tests.support.waiting import wait_for


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with running_page(tmp_path_factory.mktemp("page"), ("man.jpg",)) as found:
        yield found


@pytest.fixture
def client(running):
    found = acting_page(running)
    yield found
    found.post("/driver", {"kind": "given"})


def moves(running) -> bool:
    images = running.output.images
    return bool(images) and bool((images[-1] != running.run.loop.animator.still).any())


# --- drivers ------------------------------------------------------------------------------------------------


def test_cameras_are_offered_by_name_and_taken_by_number(client, running, monkeypatch):
    monkeypatch.setattr(run_routes, "listed_cameras", lambda: {0: "Desk Cam", 9: "Broken"})
    assert client.get("/choices").found["cameras"] == [
        {"index": 0, "name": "Desk Cam"},
        {"index": 9, "name": "Broken"},
    ]
    assert client.post("/driver", {"kind": "camera", "index": 0}).status == 200
    wait_for(lambda: client.state()["driver"]["chosen"] == "Desk Cam" and moves(running))
    assert running.run.drivers.chosen.drivers == ("webcam:0",)
    client.post("/driver", {"kind": "camera", "index": 9})
    wait_for(lambda: "gives no picture" in client.state()["driver"]["fault"])
    wait_for(lambda: not moves(running))
    for index in (3, "0", None, True, "../../dev/video0"):
        assert client.post("/driver", {"kind": "camera", "index": index}).status == 422


def test_nobody_drives_and_the_puppet_rests(client, running):
    wait_for(lambda: moves(running))
    client.post("/driver", {"kind": "nobody"})
    wait_for(lambda: not running.run.drivers.is_open)
    wait_for(lambda: not moves(running))
    client.post("/driver", {"kind": "given"})
    wait_for(lambda: moves(running))


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"kind": "clip"},
        {"kind": "/etc/passwd"},
        {"kind": "tracker", "protocol": "vmc", "port": 0, "network": False},
        {"kind": "tracker", "protocol": "vmc", "port": "x", "network": False},
        {"kind": "tracker", "protocol": "vmc", "port": 39540},
        {"kind": "tracker", "protocol": "evil", "port": 39540, "network": False},
        {"kind": "camera", "index": 0, "profile": "../../x"},
    ],
)
def test_a_driver_that_is_none_is_refused(client, running, wanted):
    before = running.run.drivers.chosen
    assert client.post("/driver", wanted).status == 422
    assert running.run.drivers.chosen is before


def test_a_tracker_listens_to_this_machine_unless_a_phone_is_to_send(client, running):
    tracker = {"kind": "tracker", "protocol": "vmc", "port": 39999}
    client.post("/driver", {**tracker, "network": False})
    assert running.run.drivers.chosen.drivers == ("vmc:39999",)
    client.post("/driver", {**tracker, "network": True})
    assert running.run.drivers.chosen.drivers == ("vmc:0.0.0.0:39999",)


def test_a_clip_that_is_sent_drives_and_is_gone_with_the_run(client, running, settings_folder):
    data = (SAMPLES / "driver.mp4").read_bytes()
    assert client.send("/driver/clip?name=me.mp4", data).status == 200
    (path,) = running.run.drivers.chosen.drivers
    assert path.startswith(str(settings_folder)) and client.state()["driver"]["chosen"] == "the clip me"
    for wrong in (b"", b"no clip", (SAMPLES / "man.jpg").read_bytes(), data[:4000]):
        answer = client.send("/driver/clip?name=x.mp4", wrong)
        assert answer.status == 422, answer
    for _ in range(3):
        client.send("/driver/clip?name=me.mp4", data)
    assert len(list(settings_folder.glob(".clips-*/*"))) == 2, "the older ones are deleted"


def test_a_driver_that_ends_by_itself_leaves_the_call_going(client, running):
    running.run.drivers.choose(type(running.run.drivers.chosen)(("short",)))
    wait_for(lambda: not running.run.drivers.opening)
    sent = len(running.output.images)
    wait_for(lambda: len(running.output.images) > sent + 30)
    wait_for(lambda: not moves(running))


# --- outputs and presets ------------------------------------------------------------------------------------


def test_the_virtual_camera_is_switched_on_and_off(client, running):
    assert client.state()["outputs"]["vcam"] == "off"
    assert client.post("/outputs", {"name": "vcam", "on": True}).status == 200
    camera = running.run.loop.outputs.outputs[-1]
    wait_for(lambda: len(camera.images) > 3)
    assert client.state()["outputs"]["vcam"] == "on" and camera.images[-1].shape == (SIZE[1], SIZE[0], 3)
    client.post("/outputs", {"name": "vcam", "on": False})
    assert client.state()["outputs"]["vcam"] == "off" and camera not in running.run.loop.outputs.outputs
    for name in ("window", "/tmp/x.mp4", "none", None):
        assert client.post("/outputs", {"name": name, "on": True}).status == 422


def test_a_microphone_that_is_not_there_is_refused_and_nothing_is_recorded(client, running):
    assert client.post("/record", {"on": True, "microphone": "/etc/passwd"}).status == 422
    assert client.post("/record", {"on": True, "microphone": None}).status == 200
    assert running.run.key_actions.recording is not None
    assert client.post("/record", {"on": False}).status == 200
    assert running.run.key_actions.recording is None


def test_a_preset_is_saved_chosen_and_known_to_the_command_line(client, running):
    client.post("/settings", {"strength": 1.3, "AU12": {"gain": 1.5}, "groups": ["mouth"]})
    assert client.post("/presets/save", {"name": "mine"}).status == 200
    assert client.post("/presets/use", {"name": "natural"}).status == 200
    assert running.run.loop.animator.settings.strength == 1
    assert client.post("/presets/use", {"name": "mine"}).status == 200
    found = running.run.loop.animator.settings
    assert (found.strength, found.groups, found.aus["AU12"]["gain"]) == (1.3, ("mouth",), 1.5)
    assert client.state()["settings"]["gains"] == {"AU12": 1.5}
    assert settings.load("mine") == found
    client.post("/settings", {"strength": 0.5})
    client.post("/presets/save", {"name": "other-1"})
    assert client.get("/choices").found["presets"]["saved"] == ["mine", "other-1"]
    assert settings.load("mine").strength == 1.3, "the others stay"
    for name in ("natural", "", "a b", "x" * 41, "../x", "a]\n[b", None):
        assert client.post("/presets/save", {"name": name}).status == 422
    assert client.post("/presets/use", {"name": "/etc/passwd"}).status == 422
    client.post("/presets/use", {"name": "natural"})


def test_a_file_of_presets_that_is_broken_is_said_and_kept(client):
    path = settings.saved_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    path.write_text("[broken")
    answer = client.post("/presets/save", {"name": "mine"})
    assert answer.status == 422 and "correct or delete" in answer.found["error"]
    assert path.read_text() == "[broken"
    path.write_bytes(before)


# --- performances -------------------------------------------------------------------------------------------


@pytest.fixture
def take(client):
    """A performance that was sent, by its number."""
    data = (SAMPLES / "smile.csv").read_bytes()
    answer = client.send("/performances/add?name=my%20smile.csv", data)
    assert answer.status == 200, answer
    yield answer.found["number"]
    client.post("/performances/remove", {"number": answer.found["number"]})


def listed(client):
    return {each["name"]: each for each in client.get("/performances").found["performances"]}


def test_what_drives_the_puppet_is_recorded_listed_and_played(client, running):
    assert client.post("/performances/record", {"on": True}).status == 200
    name = client.state()["taking"]
    time.sleep(0.8)
    assert client.post("/performances/record", {"on": False}).status == 200
    found = listed(client)[name]
    assert found["plot"]["duration_s"] > 0.4 and not found["ships"]
    assert any(au.startswith("AU12") for au in found["plot"]["aus"])
    assert client.post("/performances/play", {"number": found["number"], "loop": False}).status == 200
    wait_for(lambda: client.state()["driver"]["ended"])
    wait_for(lambda: not moves(running))
    client.post("/performances/stop")
    assert running.run.drivers.chosen.drivers == ("webcam",)
    client.post("/performances/remove", {"number": found["number"]})
    assert name not in listed(client)


def test_a_performance_is_looped(client, running, take):
    client.post("/performances/play", {"number": take, "loop": True})
    wait_for(lambda: moves(running))
    time.sleep(0.3)
    assert not client.state()["driver"]["ended"] and client.state()["driver"]["face"].startswith("not needed")
    assert "my-smile" in client.state()["driver"]["chosen"]


def test_a_part_is_cut_into_a_performance_of_its_own(client, take):
    whole = load_curve(SAMPLES / "smile.csv")
    answer = client.post("/performances/cut", {"number": take, "from_s": 0.5, "to_s": 1.5})
    assert answer.status == 200 and answer.found["name"] == "my-smile-cut"
    data = client.get(f"/performances/file?number={answer.found['number']}")
    assert data.fields["content-type"].startswith("text/csv")
    part = load_curve(next(path for path in _kept(client) if path.stem == "my-smile-cut"))
    assert part.duration_s == pytest.approx(1.0)
    for at in (0.0, 0.4, 1.0):
        np.testing.assert_allclose(part.at(at), whole.at(0.5 + at), atol=0.02)
    for wrong in ((1.5, 0.5), (0, 0.01), (-1, 1), (99, 100)):
        body = {"number": take, "from_s": wrong[0], "to_s": wrong[1]}
        assert client.post("/performances/cut", body).status == 422
    client.post("/performances/remove", {"number": answer.found["number"]})


def test_a_point_that_is_dragged_takes_its_surroundings_along_and_can_be_taken_back(client, take):
    path = next(path for path in _kept(client) if path.stem == "my-smile")
    before = load_curve(path)
    body = {"number": take, "au": "AU12L", "time_s": 1.0, "value": -0.5, "width_s": 0.4}
    assert client.post("/performances/bend", body).status == 200
    after = load_curve(path)
    place = EXPRESSION.index("AU12L")
    assert after.at(1.0)[place] == pytest.approx(-0.5, abs=0.02)
    for at in (0.0, 0.55, 1.45, before.duration_s):
        np.testing.assert_allclose(after.at(at), before.at(at), atol=0.02)
    others = [i for i in range(len(EXPRESSION)) if i != place]
    np.testing.assert_allclose(after.at(1.0)[others], before.at(1.0)[others], atol=0.02)
    moments = np.arange(0, before.duration_s, 1 / 60)
    moved = np.diff([after.at(t)[place] - before.at(t)[place] for t in moments])
    assert np.abs(moved).max() < 0.2, "it does not jump"
    assert client.post("/performances/undo", {"number": take}).status == 200
    assert load_curve(path).at(1.0)[place] == pytest.approx(before.at(1.0)[place], abs=1e-6)
    assert client.post("/performances/undo", {"number": take}).status == 422 and UNDO_STEPS > 5
    nudge = {each: body[each] for each in ("number", "au", "time_s", "width_s")} | {"by": 0.05}
    for _ in range(2):
        assert client.post("/performances/bend", nudge).status == 200
    expected = min(before.at(1.0)[place] + 0.1, 1)
    assert load_curve(path).at(1.0)[place] == pytest.approx(expected, abs=1e-3)
    for _ in range(2):
        assert client.post("/performances/undo", {"number": take}).status == 200
    assert client.post("/performances/bend", body | {"by": 2}).status == 422
    for wrong in ({"au": "AU99"}, {"value": 2}, {"width_s": 0}, {"time_s": "1"}, {"number": 10**6}):
        assert client.post("/performances/bend", body | wrong).status == 422


def test_what_ships_is_copied_before_it_is_changed(client):
    shipped = listed(client)["wink"]
    data = (SAMPLES / "wink.csv").read_bytes()
    body = {"number": shipped["number"], "au": "AU12L", "time_s": 1.0, "value": 0.5, "width_s": 0.4}
    found = client.post("/performances/bend", body).found
    assert found["number"] != shipped["number"] and not found["ships"]
    assert (SAMPLES / "wink.csv").read_bytes() == data
    assert client.post("/performances/remove", {"number": shipped["number"]}).status == 422
    client.post("/performances/remove", {"number": found["number"]})


@pytest.mark.parametrize("data", [b"", b"time_s,AU12\n0,nan\n", b"{", b"\xff" * 90, b"time_s,AU12\n0,5\n"])
def test_a_curve_that_is_none_is_refused_with_its_reason(client, data):
    answer = client.send("/performances/add?name=x.csv", data)
    assert answer.status == 422 and len(answer.found["error"]) > 10


def test_keyframes_are_kept_as_a_curve(client):
    frames = {"version": 1, "keyframes": [{"time_s": 0, "AU12": 0}, {"time_s": 1, "AU12": 0.8}]}
    found = client.send("/performances/add?name=grin.json", json.dumps(frames).encode()).found
    assert found["name"] == "grin"
    client.post("/performances/remove", {"number": found["number"]})


@pytest.mark.slow
def test_videos_are_drawn_on_several_photos_beside_the_call(client, running, take, tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_VIDEOS", str(tmp_path / "videos"))
    data = cv2.imencode(".jpg", cv2.imread(str(SAMPLES / "glasses.jpg"))[:, ::-1])[1].tobytes()
    other = client.send("/photos?name=other.jpg", data).found["number"]
    body = {"number": take, "photos": [running.run.photos.photos[-1].number, other]}
    assert client.post("/performances/draw", body).status == 422, "it was not said who is in it"
    client.post("/photos/consent", {"number": other, "answer": "nobody"})
    assert client.post("/performances/draw", body).status == 200
    assert client.post("/performances/draw", body).status == 409
    shares = []

    def finished():
        found = client.state()["drawing"]
        shares.append(found["done"] + found["share"])
        return not found["running"] and len(found["videos"]) == 2

    wait_for(finished, 240)
    found = client.state()["drawing"]
    assert not found["fault"] and len(set(shares)) > 3, "its progress is seen"
    video = client.get("/performances/video?number=1")
    assert video.status == 200 and b"ftyp" in video.body[:16]
    assert client.get("/performances/video?number=7").status == 404
    client.post("/photos/remove", {"number": other})
    shutil.rmtree(tmp_path / "videos")


def _kept(client):
    from realtime.session.performance_library import folder

    return list(folder().glob("*.csv"))
