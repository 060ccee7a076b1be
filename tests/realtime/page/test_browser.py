"""The page in a real browser: every control acts on a running puppet, whose output is read."""

import os
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from realtime.page import calibration, run_routes
from realtime.performance.load import load_curve
from realtime.session.performance_library import folder as performances_folder
from realtime.tracking import driver_profile
from tests.realtime.page.test_calibration import SlowFilm
from tests.support.browser import MISSING, Tab, browser
from tests.support.page_client import SAMPLES, running_page
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING)]
# Where screenshots are kept to be looked at: PUPPET_SCREENSHOTS=FOLDER python -m pytest -m slow ...
SCREENSHOTS = os.environ.get("PUPPET_SCREENSHOTS")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(driver_profile.FOLDER_ENV, str(folder / "profiles"))
        for module in (run_routes, calibration):
            patch.setattr(module, "listed_cameras", lambda: {0: "Desk Cam", 2: "Other Cam"})
        patch.setattr(calibration, "open_camera", lambda _text: SlowFilm())
        with running_page(folder) as found:
            found.folder = folder
            yield found


@pytest.fixture(scope="module")
def opened():
    with browser() as found:
        yield found


@pytest.fixture
def tab(opened, running):
    """A tab that acts, in a browser that knows nothing yet."""
    context = opened.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
    found = Tab(context, running.page.address, running.host)
    found.wait(lambda: pictures(found) > 2, "no picture came")
    if found.page.locator("#look-on").is_visible():
        found.page.click("#act-here")
    found.wait(lambda: not found.page.locator("#look-on").is_visible(), "it does not act")
    yield found
    found.page.unroute_all()
    context.close()
    assert not found.faults and not found.strangers
    wait_for(lambda: not running.page.access.open_pages)


def pictures(tab) -> int:
    return int(tab.page.locator("#live").get_attribute("data-pictures") or 0)


def rests(running) -> bool:
    return np.array_equal(running.output.images[-1], running.run.loop.animator.still)


def set_range(tab, selector: str, value: float) -> None:
    """As a user drags it: by keys, which the browser turns into its events."""
    dial = tab.page.locator(selector)
    dial.focus()
    dial.press("Home")
    for _ in range(round(value / float(dial.get_attribute("step")))):
        dial.press("ArrowRight")


# --- opening ------------------------------------------------------------------------------------------------


def test_the_token_leaves_the_address_and_no_script_can_read_the_cookie(tab, running):
    assert tab.page.url == f"http://{running.host}/"
    (cookie,) = tab.page.context.cookies()
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    tab.page.reload()
    tab.wait(lambda: pictures(tab) > 2, "a page that is loaded again goes on")
    assert tab.text("#state") == "Live"


def test_without_the_token_the_page_says_how_to_open_it(opened, running):
    context = opened.new_context()
    stranger = Tab(context, f"http://{running.host}/", running.host)
    stranger.wait(lambda: stranger.page.locator("#refused").is_visible(), "nothing is said")
    assert "address that the program printed" in stranger.text("#refused")
    assert not stranger.page.locator("main").is_visible()
    context.close()


def test_another_sites_page_cannot_embed_it_or_read_from_it(tab, running):
    page = tab.page.context.new_page()
    page.route("http://evil.example/", lambda route: route.fulfill(
        content_type="text/html",
        body=f"<iframe src='http://{running.host}/'></iframe><script>fetch('http://{running.host}/state')"
        ".then(() => document.title = 'read').catch(() => document.title = 'refused')</script>",
    ))  # fmt: skip
    page.goto("http://evil.example/")
    page.wait_for_timeout(800)
    assert page.title() == "refused"
    assert all("Expression Puppet" not in (frame.title() or "") for frame in page.frames[1:])
    page.close()


def test_a_second_tab_looks_on_says_so_and_takes_over(tab, running):
    context = tab.page.context.browser.new_context()
    second = Tab(context, running.page.address, running.host)
    second.wait(lambda: second.page.locator("#look-on").is_visible(), "it does not say that it looks on")
    second.wait(lambda: pictures(second) > 1, "it may look")
    second.page.click("#panic")
    second.wait(lambda: "Another page acts" in second.text("#toast"), "it is not refused in words")
    assert not running.run.controls.panic
    second.page.click("#act-here")
    second.wait(lambda: not second.page.locator("#look-on").is_visible(), "it does not act")
    tab.wait(lambda: tab.page.locator("#look-on").is_visible(), "the first is not told")
    context.close()


# --- panic, keys, dials -------------------------------------------------------------------------------------


def test_space_is_panic_wherever_the_focus_is_and_a_button_is_not_pressed_by_it(tab, running):
    tab.page.focus("#group-mouth")
    tab.page.keyboard.press("Space")
    tab.wait(lambda: running.run.controls.panic and rests(running), "no panic")
    tab.wait(lambda: tab.pressed("#panic"), "it is not seen")
    assert "mouth" in running.run.loop.animator.settings.groups
    tab.page.keyboard.press("Escape")
    tab.wait(lambda: not running.run.controls.panic and not rests(running), "no way back")
    tab.page.click("#panic")
    tab.wait(lambda: running.run.controls.panic, "the button does nothing")
    tab.page.click("#panic")
    tab.wait(lambda: not running.run.controls.panic, "nor back")


def test_keys_and_buttons_do_the_same(tab, running):
    controls = running.run.controls
    tab.page.keyboard.press("p")
    tab.wait(lambda: controls.paused and tab.pressed("#pause"), "p does not pause")
    tab.page.click("#pause")
    tab.wait(lambda: not controls.paused, "the button does not")
    assert tab.pressed("#mirror")
    tab.page.keyboard.press("m")
    assert not tab.pressed("#mirror") and "others" in tab.text("#live-caption")
    tab.page.click("#mirror")
    tab.page.click("#rest")
    tab.page.keyboard.press("+")
    tab.wait(lambda: running.run.loop.animator.settings.strength == 1.1, "+ does nothing")
    tab.wait(lambda: tab.text("#strength-value") == "110 %", "it is not shown")
    tab.page.keyboard.press("-")
    tab.wait(lambda: running.run.loop.animator.settings.strength == 1, "- does nothing")


def test_the_mirror_turns_the_picture_and_not_the_mark(tab, running):
    tab.page.click("#panic")
    tab.wait(lambda: rests(running), "no panic")
    tab.page.wait_for_timeout(1500)
    shown, others = (screenshot(tab, selector, (320, 240)) for selector in ("#live", "#others"))
    still = running.run.loop.animator.still
    rows, columns = running.run.loop.animator.badge.box
    assert np.abs(others.astype(int) - still).mean() < 8
    turned = still[:, ::-1].copy()
    turned[rows, 320 - columns.stop : 320 - columns.start] = still[rows, columns]
    assert np.abs(shown.astype(int) - turned).mean() < 8
    tab.page.click("#panic")


def test_every_dial_and_switch_reaches_the_puppet(tab, running):
    def found():
        return running.run.loop.animator.settings

    for name, value in (("strength", 0.5), ("head", 0.75), ("gaze", 0.25)):
        set_range(tab, f"#dial-{name}", value)
        tab.wait(lambda name=name, value=value: getattr(found(), name) == pytest.approx(value), name)
    for group in ("brows", "eyes", "mouth", "head", "gaze"):
        tab.page.click(f"#group-{group}")
        tab.wait(lambda group=group: group not in found().groups, f"{group} stays on")
    tab.wait(lambda: rests(running), "nothing is driven, and it moves")
    for group in ("brows", "eyes", "mouth", "head", "gaze"):
        tab.page.click(f"#group-{group}")
        tab.wait(lambda group=group: group in found().groups, f"{group} stays off")
    for switch in ("idle", "symmetric"):
        for on in (True, False):
            tab.page.click(f"#switch-{switch}")
            tab.wait(lambda switch=switch, on=on: getattr(found(), switch) is on, switch)


def test_gains_of_action_units_and_their_bars(tab, running):
    tab.page.click("#more summary")
    set_range(tab, "#gain-AU12", 2.0)
    tab.wait(lambda: running.run.loop.animator.settings.aus.get("AU12", {}).get("gain") == 2.0, "no gain")
    row = tab.page.locator(".au", has=tab.page.locator("#gain-AU12")).locator("canvas")
    tab.wait(lambda: len(np.unique(image_of(row.screenshot()).reshape(-1, 3), axis=0)) > 2, "no bars")
    set_range(tab, "#gain-AU12", 1.0)


def test_presets_are_saved_and_chosen(tab, running):
    set_range(tab, "#dial-strength", 1.5)
    tab.wait(lambda: running.run.loop.animator.settings.strength == 1.5, "no strength")
    tab.page.click("#save-preset")
    tab.page.fill("#preset-name", "lively day")
    tab.page.click("dialog button.main")
    tab.wait(lambda: "no name for a preset" in tab.text("#toast"), "a wrong name is not refused in words")
    tab.page.click("#save-preset")
    tab.page.fill("#preset-name", "evening")
    tab.page.click("dialog button.main")
    tab.wait(lambda: tab.page.locator("#preset").input_value() == "evening", "it is not offered")
    tab.page.select_option("#preset", "natural")
    tab.page.click("#use-preset")
    tab.wait(lambda: running.run.loop.animator.settings.strength == 1, "it is not used")
    tab.page.select_option("#preset", "evening")
    tab.page.click("#use-preset")
    tab.wait(lambda: running.run.loop.animator.settings.strength == 1.5, "nor the saved one")
    tab.page.select_option("#preset", "natural")
    tab.page.click("#use-preset")


# --- photos, drivers, outputs -------------------------------------------------------------------------------


def test_a_photo_is_added_asked_about_shown_and_removed(tab, running, tmp_path):
    path = tmp_path / "me.jpg"
    cv2.imwrite(str(path), cv2.imread(str(SAMPLES / "mature.jpg"))[:, ::-1])
    before = running.run.photos.shown.number
    tab.page.set_input_files("#photo-file", str(path))
    tab.wait(lambda: tab.page.locator("dialog").is_visible(), "it is not asked who is in it")
    assert "Who is in me.jpeg" in tab.text("dialog h2") and running.run.photos.shown.number == before
    tab.page.click("dialog >> text=Nobody: drawn or generated")
    tab.wait(lambda: running.run.photos.shown.path.name.endswith("me.jpeg"), "it is not shown")
    number = running.run.photos.shown.number
    tab.wait(lambda: tab.pressed(f"#photo-{number} .photo"), "it is not marked")
    tab.page.click(f"#photo-{before} .photo")
    tab.wait(lambda: running.run.photos.shown.number == before, "the other one cannot be chosen")
    tab.page.click(f"#photo-{number} >> text=Remove")
    tab.wait(lambda: not tab.page.locator(f"#photo-{number}").count(), "it is still there")


def test_a_photo_is_dragged_in_and_refused_when_it_is_none(tab, running):
    count = len(running.run.photos.photos)
    data = tab.page.evaluate_handle(
        "() => { const d = new DataTransfer(); d.items.add(new File(['no photo'], 'x.jpg')); return d; }"
    )
    tab.page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    tab.wait(lambda: "not a picture" in tab.text("#toast"), "the reason is not said")
    assert len(running.run.photos.photos) == count


def test_one_of_several_faces_is_chosen_on_the_picture(tab, running, tmp_path):
    path = tmp_path / "pair.png"
    pair = np.hstack([cv2.imread(str(SAMPLES / name)) for name in ("man.jpg", "woman.jpg")])
    cv2.imwrite(str(path), pair)
    tab.page.set_input_files("#photo-file", str(path))
    tab.wait(lambda: tab.page.locator("dialog").is_visible(), "it is not asked who is in it")
    tab.page.click("dialog >> text=Somebody who agreed")
    tab.wait(lambda: "pair" in running.run.photos.shown.path.name, "it is not shown")
    number = running.run.photos.shown.number
    for face in ("2", "1"):
        tab.page.click(f"#photo-{number} >> text=Face")
        tab.wait(lambda: tab.page.locator(".faces button").count() == 2, "two faces are not framed")
        tab.page.click(f".faces button[aria-label^='Face {face}']")
        tab.wait(lambda face=face: running.run.photos.photo(number).face == face, "it is not chosen")
    tab.page.click(f"#photo-{number} >> text=Remove")
    tab.wait(lambda: not tab.page.locator(f"#photo-{number}").count(), "it is still there")


def test_drivers_are_chosen_by_name(tab, running):
    drivers = running.run.drivers
    tab.wait(lambda: tab.page.locator("#camera").count() == 1, "no camera is offered")
    tab.page.click("#nobody")
    tab.wait(lambda: not drivers.is_open and rests(running), "somebody drives")
    tab.wait(lambda: tab.text("#face") == "nobody drives", "it is not said")
    tab.page.select_option("#camera", label="Other Cam")
    tab.page.click("#use-camera")
    tab.wait(lambda: drivers.chosen.drivers == ("webcam:2",) and not rests(running), "no camera drives")
    tab.wait(lambda: "Other Cam" in tab.text("#driver-now"), "it is not named")
    tab.page.select_option("#tracker", "vmc")
    assert tab.page.locator("#tracker-port").input_value() == "39540"
    tab.page.fill("#tracker-port", "39777")
    tab.page.click("#use-tracker")
    tab.wait(lambda: drivers.chosen.drivers == ("vmc:39777",), "no tracker drives")
    tab.page.set_input_files("#clip-file", str(SAMPLES / "driver.mp4"))
    tab.wait(lambda: drivers.chosen.name == "the clip driver", "no clip drives")
    tab.page.click("#given")
    tab.wait(lambda: drivers.chosen.drivers == ("webcam",), "there is no way back")


def test_outputs_are_switched_and_a_recording_is_made(tab, running):
    tab.page.click("#vcam")
    tab.wait(lambda: tab.pressed("#vcam") and len(running.run.loop.outputs.outputs) == 3, "no camera")
    assert tab.text("#vcam-state") == "on"
    tab.page.click("#vcam")
    tab.wait(lambda: not tab.pressed("#vcam"), "it stays on")
    tab.page.click("#record")
    tab.wait(lambda: "puppet-" in tab.text("#record-state"), "nothing is recorded")
    name = Path(running.run.key_actions.recording.name)
    tab.page.wait_for_timeout(1000)
    tab.page.keyboard.press("r")
    tab.wait(lambda: running.run.key_actions.recording is None, "the key does not end it")
    tab.wait(name.exists, "it is not finished")
    with av.open(str(name)) as container:
        assert sum(1 for _ in container.decode(video=0)) > 10


# --- performances and calibration ---------------------------------------------------------------------------


@pytest.fixture
def take(tab):
    """A performance that is recorded on the page: its row and its file."""
    tab.page.click("#take")
    tab.wait(lambda: "is recorded" in tab.text("#taking"), "nothing is recorded")
    tab.page.wait_for_timeout(1500)
    tab.page.click("#take")
    row = tab.page.locator("#performance-list li", has_text="take-").first
    tab.wait(lambda: row.count() == 1, "it is not listed")
    (path,) = performances_folder().glob("take-*.csv")
    yield row, path
    for each in performances_folder().glob("take-*.csv"):
        each.unlink()


def test_a_performance_is_recorded_played_looped_cut_and_downloaded(tab, running, take):
    row, path = take
    drivers = running.run.drivers
    row.locator("text=Loop").click()
    tab.wait(lambda: drivers.chosen.drivers[0].endswith(".csv") and not drivers.chosen.once, "no loop")
    row.locator("text=Play").click()
    tab.wait(lambda: drivers.ended and "is over" in tab.text("#driver-now"), "it does not end")
    tab.page.click("#stop-performance")
    tab.wait(lambda: not drivers.ended and not rests(running), "the driver before is not back")

    row.locator("text=Edit").click()
    tab.page.fill("#cut-from", "0.2")
    tab.page.fill("#cut-to", "0.8")
    tab.page.click("#cut")
    tab.wait(lambda: len(list(performances_folder().glob("*-cut.csv"))) == 1, "no part is kept")
    with tab.page.expect_download() as download:
        tab.page.click("#download")
    assert download.value.suggested_filename == path.name
    assert Path(download.value.path()).read_bytes() == path.read_bytes()
    tab.page.click("#delete")
    tab.page.click("dialog button.main")
    tab.wait(lambda: not path.exists(), "it is still there")


def test_a_point_of_a_performance_is_dragged_nudged_by_keys_and_taken_back(tab, running, take):
    row, path = take
    row.locator("text=Edit").click()
    tab.wait(lambda: tab.page.locator("#curve").is_visible(), "no curve")
    tab.page.select_option("#curve-width", "0.15")
    before = load_curve(path)
    box = tab.page.locator("#curve").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"]
    tab.page.mouse.move(x, y - box["height"] / 2)
    tab.page.mouse.down()
    tab.page.mouse.move(x, y - box["height"] * 0.75, steps=4)
    tab.page.mouse.up()
    au = tab.page.locator("#curve-au").input_value()
    place = load_curve(path).aus.index(au)

    def at_middle():
        return load_curve(path).at(before.duration_s / 2)[place]

    tab.wait(lambda: at_middle() == pytest.approx(0.5, abs=0.06), "the point is not there")
    # What is recorded here changes with every frame, and the plot has a point every few milliseconds.
    shown = tab.page.locator("#curve-note")
    tab.wait(lambda: abs(float(shown.inner_text().rpartition(" ")[2]) - 0.5) < 0.2, "nor is it shown")
    bent = at_middle()
    answers = []
    tab.page.on("response", lambda response: answers.append(response.url.rpartition("/")[2]))
    tab.page.focus("#curve")
    for _ in range(3):  # faster than the page is answered
        tab.page.keyboard.press("ArrowDown")
    tab.wait(lambda: answers.count("bend") == 3, "the keyboard does not move it")
    assert at_middle() < bent - 0.1
    for _ in range(4):
        kept = path.read_bytes()
        tab.page.click("#undo")
        tab.wait(lambda kept=kept: path.read_bytes() != kept, "no undo")
    assert at_middle() == pytest.approx(before.at(before.duration_s / 2)[place], abs=0.01)


def test_videos_are_drawn_with_a_bar(tab, running, tmp_path, monkeypatch):
    monkeypatch.setenv("PUPPET_VIDEOS", str(tmp_path))
    tab.page.locator("#performance-list li", has_text="smile").first.locator("text=Edit").click()
    tab.page.click("#draw")
    tab.page.click("dialog button.main")
    tab.wait(lambda: tab.page.locator("#drawing-bar").is_visible(), "no bar")
    end = running.run.loop.sent
    for _ in range(8):
        if tab.page.locator("#videos li").count():
            break
        try:
            tab.wait(lambda: tab.page.locator("#videos li").count() == 1, "no video")
        except AssertionError:
            continue
    assert tab.page.locator("#videos li").count() == 1 and running.run.loop.sent > end, "the call went on"
    with tab.page.expect_download() as download:
        tab.page.locator("#videos >> text=Download").click()
    with av.open(str(download.value.path())) as container:
        assert sum(1 for _ in container.decode(video=0)) > 20


def test_calibration_is_guided_with_the_drivers_own_picture(tab, running):
    tab.wait(lambda: tab.page.locator("#lesson-camera option").count() == 2, "no camera")
    tab.page.fill("#lesson-name", "desk")
    tab.page.click("#begin-lesson")
    tab.wait(lambda: " of 7: " in tab.text("#lesson-prompt"), "nothing is asked for")
    canvas = tab.page.locator("#lesson-picture")
    tab.wait(lambda: int(canvas.get_attribute("data-pictures") or 0) > 2, "they do not see themselves")
    tab.page.click("#stop-lesson")
    tab.wait(lambda: "nothing was kept" in tab.text("#lesson-result"), "it does not end")
    assert not canvas.is_visible()
    tab.page.click("#begin-lesson")
    tab.wait(lambda: "Kept as desk" in tab.text("#lesson-result"), "no profile")
    assert running.run.drivers.chosen.profile == "desk"
    tab.page.click("#given")


# --- how it looks -------------------------------------------------------------------------------------------

LOOKS = {
    "light": ({"color_scheme": "light"}, (1280, 900)),
    "dark": ({"color_scheme": "dark"}, (1280, 900)),
    "phone": ({"color_scheme": "dark"}, (390, 844)),
    "200 per cent": ({"color_scheme": "light"}, (640, 450)),
}


@pytest.mark.parametrize("look", LOOKS)
def test_nothing_is_cut_off_in_light_dark_on_a_phone_and_at_200_per_cent(tab, look):
    media, size = LOOKS[look]
    tab.page.emulate_media(**media)
    tab.page.set_viewport_size({"width": size[0], "height": size[1]})
    tab.page.click("#more summary")
    tab.page.locator("#performance-list li", has_text="talk").first.locator("text=Edit").click()
    tab.wait(lambda: tab.page.locator("#curve").is_visible(), "no curve")
    tab.page.wait_for_timeout(500)
    if SCREENSHOTS:
        name = f"{look.replace(' ', '-')}.png"
        tab.page.screenshot(path=str(Path(SCREENSHOTS) / name), full_page=True)
    wide = tab.page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= size[0], "it has to be moved sideways"
    outside = tab.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, h2, p, canvas')].filter((each) => {
            const box = each.getBoundingClientRect();
            const is_seen = box.width > 1 && !each.matches('.file, .skip');
            return is_seen && (box.left < -1 || box.right > innerWidth + 1);
        }).map((each) => each.id || each.textContent)"""
    )
    assert outside == []


def test_every_control_has_a_name_and_can_be_reached_by_the_keyboard(tab):
    unnamed = tab.page.evaluate(
        """() => [...document.querySelectorAll('button, input, select, canvas[role=img], [tabindex="0"]')]
            .filter((each) => !(each.textContent.trim() || each.getAttribute('aria-label')
                || (each.labels && each.labels.length)))
            .map((each) => each.outerHTML.slice(0, 80))"""
    )
    assert unnamed == []
    reached = set()
    tab.page.locator("body").press("Tab")
    for _ in range(120):
        reached.add(tab.page.evaluate("() => document.activeElement.id"))
        tab.page.keyboard.press("Tab")
    wanted = "panic pause mirror photo-file nobody vcam record dial-strength group-brows use-preset take end"
    assert set(wanted.split()) <= reached, set(wanted.split()) - reached


def screenshot(tab, selector: str, size: tuple[int, int]) -> np.ndarray:
    """What a canvas shows, (H, W, 3) uint8 BGR of another size."""
    return cv2.resize(image_of(tab.page.locator(selector).screenshot()), size, interpolation=cv2.INTER_AREA)


def image_of(png: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
