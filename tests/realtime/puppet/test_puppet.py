import numpy as np
import pytest

from engines.errors import SourceError
from engines.face.action_units import PAPER_17, WIDE, sides
from engines.face.au_estimator import ESTIMATED
from engines.face.crop import cut, find_crop
from realtime.messages import DriverExpression
from realtime.puppet.animator import PHOTO_FADE_S, Animator
from realtime.puppet.canvas import lay_out, parse_size
from realtime.puppet.eyes import Gaze
from realtime.puppet.head import HeadPose
from realtime.puppet.puppet import Puppet
from realtime.puppet.retarget import Retarget
from realtime.puppet.settings import DEAD_ZONE, Settings
from realtime.timing import Timings
from tests.support.fakes import StubEngine, speak


def aus(value: float) -> np.ndarray:
    return speak(PAPER_17, AU12=value)


def box_of_crop(puppet: Puppet) -> np.ndarray:
    """(H, W) bool: canvas pixels within the crop's square, one pixel of border included."""
    height, width = puppet.still.shape[:2]
    ys, xs = np.mgrid[:height, :width]
    places = puppet.crop.to_crop(np.stack([xs, ys], axis=-1).astype(float))
    return ((places > -1.5) & (places < puppet.crop.size_px + 0.5)).all(axis=-1)


def test_no_change_is_the_photo_byte_for_byte(photo):
    puppet = Puppet(photo, StubEngine())
    assert np.array_equal(puppet.render(aus(0)), puppet.still)


def test_pixels_outside_the_face_region_are_the_photos(photo):
    puppet = Puppet(photo, StubEngine(flow_px=32, down_px=6), (1280, 720))
    picture = puppet.render(aus(1))
    outside = ~box_of_crop(puppet)
    assert np.array_equal(picture[outside], puppet.still[outside])
    assert (picture != puppet.still).any()


def test_colour_shows_where_attention_is_0_and_the_photo_where_it_is_1(photo):
    puppet = Puppet(photo, StubEngine())
    picture = puppet.render(aus(1))
    middle = puppet.crop.to_frame(np.array([32.0, 32.0])).round().astype(int)
    corner = puppet.crop.to_frame(np.array([6.0, 6.0])).round().astype(int)
    assert picture[middle[1], middle[0]].tolist() == [0, 255, 0]
    assert picture[corner[1], corner[0]].tolist() == puppet.still[corner[1], corner[0]].tolist()
    half = puppet.render(aus(0.5))[middle[1], middle[0]].astype(float)
    assert half == pytest.approx(
        (puppet.still[middle[1], middle[0]].astype(float) + [0, 255, 0]) / 2, abs=1.5
    )


@pytest.mark.parametrize("degrees", [0, 30])
def test_flow_moves_the_photo_in_the_crops_own_direction(photo, degrees):
    import cv2

    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 0.8)
    turned = cv2.warpAffine(photo, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    puppet = Puppet(turned, StubEngine(size_px=256, flow_px=128, down_px=8))
    picture = puppet.render(aus(-0.5))  # no colour, only the flow
    shift = puppet.crop.to_frame(np.array([128.0, 136.0])) - puppet.crop.to_frame(np.array([128.0, 128.0]))
    expected = cv2.warpAffine(puppet.still, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), puppet.size)
    centre = puppet.crop.to_frame(np.array([128.0, 140.0])).round().astype(int)
    window = slice(centre[1] - 40, centre[1] + 40), slice(centre[0] - 40, centre[0] + 40)
    assert np.abs(picture[window].astype(int) - expected[window]).mean() < 2.0
    assert np.abs(puppet.still[window].astype(int) - expected[window]).mean() > 3.0


def test_the_real_engine_leaves_the_photo_alone_when_nothing_is_asked(photo, engine):
    puppet = Puppet(photo, engine)
    edit = puppet.edit(np.zeros(len(engine.bundle.aus), np.float32))
    assert (edit.attention == 1).all() and (edit.flow == 0).all()


@pytest.mark.parametrize("vocabulary", [PAPER_17, WIDE])
def test_retarget_starts_from_the_photos_own_expression(vocabulary):
    own, smile, bundle = (
        speak(ESTIMATED, AU12=0.8, AU01=0.3),
        speak(ESTIMATED, AU12=1),
        StubEngine(aus=vocabulary).bundle,
    )
    retarget = Retarget(bundle, own)
    assert not retarget(np.zeros(len(ESTIMATED))).any()
    assert retarget.wanted(smile) == pytest.approx(speak(vocabulary, AU12=1, AU01=0.3))
    assert retarget(smile) == pytest.approx(speak(vocabulary, AU12=0.2))
    assert not Retarget(bundle, own, Settings(strength=0.0))(smile).any()


def test_an_engine_with_sides_is_told_each_and_one_without_their_mean():
    own, wink = speak(ESTIMATED, AU12R=0.6), speak(ESTIMATED, AU45L=1, AU12R=1, AU18=1)
    wide, paper = (Retarget(StubEngine(aus=vocabulary).bundle, own) for vocabulary in (WIDE, PAPER_17))
    assert wide.wanted(wink) == pytest.approx(speak(WIDE, AU45L=1, AU12R=1, AU18=1))
    assert wide(wink) == pytest.approx(speak(WIDE, AU45L=1, AU12R=0.4, AU18=1))
    assert paper.wanted(wink) == pytest.approx(speak(PAPER_17, AU45=0.5, AU12=0.8))
    assert paper(wink) == pytest.approx(speak(PAPER_17, AU45=0.5, AU12=0.5))
    assert Retarget(StubEngine(aus=PAPER_17).bundle, own, Settings(strength=2))(wink) == pytest.approx(
        speak(PAPER_17, AU45=1, AU12=0.7)
    )


def test_the_trackers_tremble_at_rest_asks_for_nothing():
    retarget = Retarget(StubEngine(aus=WIDE).bundle, speak(ESTIMATED))
    tremble = np.full(len(ESTIMATED), DEAD_ZONE)
    assert not retarget(tremble).any() and not retarget(-tremble).any()


def test_a_picture_without_a_face_is_refused():
    with pytest.raises(SourceError, match="No face"):
        Puppet(np.full((300, 400, 3), 127, np.uint8), StubEngine())


def test_of_two_faces_the_larger_is_taken_and_it_says_so(photo):
    import cv2

    small = cv2.resize(photo, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    both = np.full((photo.shape[0], photo.shape[1] + small.shape[1], 3), 127, np.uint8)
    both[:, small.shape[1] :] = photo
    both[: small.shape[0], : small.shape[1]] = small
    said: list[str] = []
    puppet = Puppet(both, StubEngine(), say=said.append)
    assert "2 faces" in said[0] and "largest" in said[0]
    assert puppet.crop.to_frame(np.array([32.0, 32.0]))[0] > small.shape[1]


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (400, 400), (1920, 300)])
@pytest.mark.parametrize("fit", ["auto", "crop", "letterbox"])
def test_the_photo_is_never_stretched_and_the_canvas_has_its_size(photo, recorded, size, fit):
    face = find_crop(recorded["neutral"], 256)
    canvas = lay_out(photo, face, size, fit)
    assert canvas.image.shape == (size[1], size[0], 3)
    (a, b, _), (c, d, _) = canvas.canvas_from_photo
    assert a == pytest.approx(d, rel=1e-6) and b == c == 0


def test_cropping_spares_the_face(photo, recorded):
    tall = np.full((1600, 500, 3), 60, np.uint8)
    face = find_crop(recorded["neutral"], 256)  # of a 512 px picture
    canvas = lay_out(tall, face, (1280, 720))
    corners = np.array([[0, 0], [255, 255]])
    shown = face.to_frame(corners) @ canvas.canvas_from_photo[:, :2].T + canvas.canvas_from_photo[:, 2]
    assert shown[1, 1] < 720, "the chin is in view: letterboxed rather than cut"


def test_sizes_are_parsed_or_refused():
    from engines.errors import PuppetError

    assert parse_size("1280x720") == (1280, 720)
    for wrong in ("1280", "0x0", "axb", "1280x99999"):
        with pytest.raises(PuppetError, match="--size"):
            parse_size(wrong)


# --- head and eyes
# ---------------------------------------------------------------------------------------------


def test_head_and_gaze_leave_nothing_behind(photo):
    puppet = Puppet(photo, StubEngine(flow_px=32, down_px=3))
    before = puppet.render(aus(0.6))
    moved = puppet.render(aus(0.6), HeadPose(yaw_deg=9), Gaze(0.15, 0.08))
    assert not np.array_equal(moved, before)
    assert np.array_equal(puppet.render(aus(0.6)), before)
    assert np.array_equal(puppet.render(aus(0)), puppet.still)


def test_the_engine_is_shown_eyes_that_look_as_the_puppets_do(photo):
    """What it paints of eyes, lids half shut, else looks where the photo looks."""
    shown = []

    class Watched(StubEngine):
        def run(self, picture, aus):
            shown.append(picture)
            return super().run(picture, aus)

    puppet = Puppet(photo, Watched(size_px=256))
    for gaze in (Gaze(), Gaze(0.15), Gaze(0.1501), Gaze()):
        puppet.render(aus(0.5), gaze=gaze)
    at_rest, looking, still_looking, again = shown
    assert again is at_rest and still_looking is looking, "engines keep what does not change"
    assert not looking.flags.writeable
    changed = np.argwhere((looking != at_rest).any(axis=-1)) / 256
    assert 0.2 < changed[:, 0].min() and changed[:, 0].max() < 0.45, "the eyes and nothing else"
    drawn = cut(puppet.render(aus(0), gaze=Gaze(0.15)), puppet.crop).astype(int)
    assert np.abs(drawn - looking).max() < 0.3 * np.abs(drawn - at_rest).max()


@pytest.mark.parametrize("vocabulary", [PAPER_17, WIDE])
def test_raised_lids_are_the_photos_and_the_engine_is_not_asked_for_them(photo, vocabulary):
    told = []

    class Watched(StubEngine):
        def run(self, picture, aus):
            told.append(speak_of(vocabulary, aus))
            return super().run(picture, aus)

    def speak_of(vocabulary, aus):
        return {au: round(float(value), 3) for au, value in zip(vocabulary, aus, strict=True) if value}

    puppet = Puppet(photo, Watched(aus=vocabulary))
    lids, smile = sides("AU05") if vocabulary is WIDE else ("AU05",), vocabulary[-1]
    wide = puppet.render(speak(vocabulary, **dict.fromkeys(lids, 0.8)))
    assert not told and (wide != puppet.still).any()
    puppet.render(speak(vocabulary, **dict.fromkeys(lids, 0.8), **{smile: 0.5}))
    puppet.render(speak(vocabulary, **dict.fromkeys(lids, -0.3)))
    assert told == [{smile: 0.5}, dict.fromkeys(lids, -0.3)], "lids that sink are the engine's"
    assert np.array_equal(puppet.render(speak(vocabulary)), puppet.still)


def test_a_photo_is_taken_apart_the_same_way_every_time(photo):
    pose, gaze = HeadPose(5, -12, 4, 1.05), Gaze(-0.1, 0.05)
    first, second = (Puppet(photo, StubEngine()).render(aus(0), pose, gaze) for _ in range(2))
    assert np.array_equal(first, second)


def test_eyes_look_without_a_head_or_an_expression_that_moves(photo):
    puppet = Puppet(photo, StubEngine())
    picture = puppet.render(aus(0), HeadPose(), Gaze(0.15))
    changed = np.argwhere((picture != puppet.still).any(axis=-1))
    eyes = puppet.crop.to_crop(changed[:, ::-1].astype(float)) / puppet.crop.size_px
    assert len(changed) and 0.1 < eyes[:, 0].min() and eyes[:, 0].max() < 0.9
    assert 0.2 < eyes[:, 1].min() and eyes[:, 1].max() < 0.45, "the eyes and nothing else"


def test_colour_of_the_engine_goes_where_the_head_goes(photo):
    puppet = Puppet(photo, StubEngine())
    middles = []
    for pose in (HeadPose(), HeadPose(yaw_deg=14), HeadPose(yaw_deg=-14)):
        green = (puppet.render(aus(1), pose) == [0, 255, 0]).all(axis=-1)
        middles.append(np.argwhere(green)[:, 1].mean())
    unit = puppet.head.unit_px
    assert middles[1] - middles[0] > 0.15 * unit and middles[0] - middles[2] > 0.15 * unit


def test_a_face_that_the_photos_edge_cuts_can_be_turned(photo):
    puppet = Puppet(np.ascontiguousarray(photo[:, 330:]), StubEngine(flow_px=32, down_px=2))
    for pose in (HeadPose(yaw_deg=20), HeadPose(-20, -20, 20, 1.25)):
        assert puppet.render(aus(1), pose, Gaze(0.28, -0.16)).shape == puppet.still.shape


@pytest.mark.parametrize("size", [(64, 64), (200, 1000), (1920, 1080)])
@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_a_head_turns_on_every_canvas(photo, size, fit):
    puppet = Puppet(photo, StubEngine(), size, fit)
    picture = puppet.render(aus(0.5), HeadPose(8, 12, -6, 1.1), Gaze(0.1, 0.1))
    assert picture.shape == (size[1], size[0], 3) and not np.array_equal(picture, puppet.still)


def test_cropping_keeps_the_whole_head_in_view_where_it_fits(photo, recorded):
    tall = np.full((1400, 900, 3), 60, np.uint8)
    face = find_crop(recorded["neutral"], 256)
    side = face.size_px * face.frame_px_per_crop_px
    face = face.moved(np.array([[1.0, 0, 200], [0, 1.0, 450]]))  # a head in the upper half, a body below
    canvas = lay_out(tall, face, (900, int(1.5 * side)), "crop")
    crown = face.to_frame(np.array([0.5, -0.3]) * face.size_px)
    chin = face.to_frame(np.array([0.5, 0.95]) * face.size_px)
    shown = [
        float((point @ canvas.canvas_from_photo[:, :2].T + canvas.canvas_from_photo[:, 2])[1])
        for point in (crown, chin)
    ]
    assert 0 < shown[0] and shown[1] < canvas.image.shape[0], "hair and chin"


def test_one_photo_fades_into_another_in_a_fifth_of_a_second_and_a_panic_waits_for_nothing(photo):
    first, second = (
        Puppet(np.ascontiguousarray(each), StubEngine(aus=WIDE), (320, 240))
        for each in (photo, photo[:, ::-1])
    )
    animator = Animator(first, Retarget(first.bundle, first.own_aus), Timings())
    smile = DriverExpression(speak(ESTIMATED, AU12=1), 0.0, seen=True)
    before = animator.show(smile, 0.0).image
    animator.change(second)
    images = [animator.show(smile, time_s).image for time_s in (1.0, 1.1, 1.19, PHOTO_FADE_S + 1)]
    after = images[-1]
    assert np.array_equal(images[0], before) and (after != before).any()
    halfway = (before.astype(float) + after) / 2
    assert np.abs(images[1] - halfway).max() <= 1.5
    animator.change(first)
    animator.show(smile, 2.1)
    assert animator.rest(2.15).image is animator.still
