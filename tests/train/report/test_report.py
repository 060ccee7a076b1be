"""Reports: measures against numbers worked out by hand; whole reports and figures on the shipped photos."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.backends.interface import Edit  # noqa: E402
from engines.errors import DataError, OutputError, SourceError  # noqa: E402
from engines.face import au_estimator  # noqa: E402
from engines.face.action_units import PAPER_17, WIDE  # noqa: E402
from tests.conftest import SAMPLES  # noqa: E402
from tests.support.fakes import StubEngine  # noqa: E402
from tests.support.photo_corpus import People, looks  # noqa: E402
from train.data.emotions import EMOTIONS, prototype  # noqa: E402
from train.report import animation, figures, measures  # noqa: E402
from train.report.compare import EngineEditor, RecipeEditor, compare, wanted  # noqa: E402
from train.report.edits import LEVELS, level_input, wanted_at  # noqa: E402
from train.report.evaluate import evaluate, outside_error  # noqa: E402
from train.report.grids import COLUMNS, generator_input, grid  # noqa: E402
from train.report.likeness import split_held_out  # noqa: E402
from train.report.page import page  # noqa: E402
from train.report.photos import read_photos  # noqa: E402
from train.report.scaled import at_size  # noqa: E402
from train.report.sheets import MAX_BYTES, sheet, write_png  # noqa: E402
from train.report.steadiness import NOISE_GREY, noisy, puppet_flicker  # noqa: E402
from train.report.sweep import Sweep, cases, choose_faces, sweep, table  # noqa: E402

SMILE = PAPER_17.index("AU12")
REST = np.zeros(len(WIDE), np.float32)


@pytest.fixture(scope="module")
def people() -> People:
    return People()


@pytest.fixture(scope="module")
def report(people, engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return evaluate(
        engine,
        people,
        folder,
        count=1,
        identity=looks,
        distance_faces=4,
        photos=[SAMPLES / "man.jpg"],
        parts={"mouth": lambda picture, _: picture[130:200, 90:170].mean(axis=(0, 1))},
    ), folder


def test_psnr_and_ssim_of_equal_and_of_opposite_pictures():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert measures.psnr(black, black) == 100 and measures.psnr(black, white) == pytest.approx(0)
    assert measures.psnr(black, black + 51) == pytest.approx(20 * np.log10(5))
    assert measures.ssim(noise, noise) == pytest.approx(1) and measures.ssim(noise, 255 - noise) < 0


def test_an_au_that_follows_by_half_has_slope_one_half():
    commanded = np.array([-1.0, 0.0, 1.0])
    half = measures.command_response(commanded, commanded / 2 + 0.1)
    assert (half.r, half.slope) == (pytest.approx(1), pytest.approx(0.5))
    assert half.rmse == pytest.approx(np.sqrt((0.6**2 + 0.1**2 + 0.4**2) / 3))
    idle = measures.command_response(commanded, np.zeros(3))
    assert (idle.r, idle.slope) == (0, 0) and measures.slope(np.ones(3), commanded) == 0


def test_leakage_counts_strong_commands_only_and_divides_by_them():
    assert measures.leakage(
        np.array([0.5, -1.0, 0.1]), np.array([[0.1, -0.1], [0.0, 0.4], [9, 9]])
    ) == pytest.approx((0.2 + 0.2 + 0 + 0.4) / 4)
    assert np.isnan(measures.leakage(np.array([0.1]), np.array([[1.0]])))


def test_doing_nothing_misses_by_one():
    assert measures.miss(3, 0.5, np.zeros(17)) == 1
    measured = np.zeros(17)
    measured[3], measured[4] = 0.5, 0.25
    assert measures.miss(3, 0.5, measured) == pytest.approx(0.5), (
        "all that was asked, and a quarter that was not"
    )


def test_the_frechet_distance_of_two_gaussians_is_its_closed_form():
    assert measures.frechet(np.array([[-1.0], [1.0]]), np.array([[1.0], [5.0]])) == pytest.approx(
        3**2 + (np.sqrt(2) - np.sqrt(8)) ** 2
    )
    rng = np.random.default_rng(0)
    white = rng.normal(size=(50, 2))
    white = (white - white.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(white, rowvar=False))).T
    c1, c2 = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.7], [-0.7, 3.0]])  # they do not commute
    a, b = white @ np.linalg.cholesky(c1).T, white @ np.linalg.cholesky(c2).T + [1, -2]
    product = c1 @ c2
    # Of any 2 x 2 matrix with positive eigenvalues
    root_trace = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    assert measures.frechet(a, b) == pytest.approx(5 + 3 + 4 - 2 * root_trace)
    assert measures.frechet(a, a) == pytest.approx(0, abs=1e-9) and measures.frechet(b, a) == pytest.approx(
        measures.frechet(a, b)
    )


def test_background_is_where_attention_keeps_and_nothing_moves():
    attention, flow = np.ones((8, 8), np.float32), np.zeros((8, 8, 2), np.float32)
    attention[0], flow[1, :, 0] = 0.5, 1.0
    kept = measures.kept_mask(attention, flow)
    assert not kept[:2].any() and kept[2:].all() and measures.kept_mask(attention, None)[1:].all()
    a, b = np.full((8, 8, 3), 10, np.uint8), np.full((8, 8, 3), 13, np.uint8)
    b[:2] = 200
    assert measures.masked_error(a, b, kept) == 3 and np.isnan(
        measures.masked_error(a, b, np.zeros((8, 8), bool))
    )


def test_blur_takes_sharpness_and_noise_makes_flicker():
    rng, mask = np.random.default_rng(0), np.ones((64, 64), bool)
    sharp = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert measures.sharpness(cv2.GaussianBlur(sharp, (0, 0), 2), mask) < 0.05 * measures.sharpness(
        sharp, mask
    )
    frames = [np.full((4, 4, 3), grey, np.uint8) for grey in (10, 13, 9)]
    assert measures.flicker(frames, np.ones((4, 4), bool)) == pytest.approx(np.sqrt((9 + 16) / 2))
    assert measures.polygon(np.array([[1, 1], [3, 1], [3, 3], [1, 3]]), (6, 6)).sum() == 9


def hand_made_sweep() -> Sweep:
    """Two faces that answer by half and leak a tenth into the next AU; one edit leaves no face."""
    rows = Sweep(
        zero_psnr=[50.0, 40.0],
        zero_ssim=[1.0, 0.9],
        smile_identity=[0.8],
        smile_found=[True],
        smile_sharpness=[0.5],
    )
    for face in (0, 1):
        for au in range(17):
            for level in LEVELS:
                measured = np.zeros(17, np.float32)
                measured[au], measured[(au + 1) % 17] = level / 2, level / 10
                lost = (face, au, level) == (1, 5, 1.0)
                rows.face.append(face)
                rows.au.append(au)
                rows.level.append(level)
                rows.commanded.append(level)
                rows.measured.append(measured * np.nan if lost else measured)
                rows.found.append(not lost)
                rows.changed.append(0.1 * level)
                rows.background.append(0.5)
                rows.kept_share.append(0.6)
                rows.identity.append(0.9 if level == 1 and not lost else np.nan)
                rows.sharpness.append(np.nan)
    return rows


def test_the_table_of_a_sweep_is_what_the_rows_say():
    result = table(hand_made_sweep())
    row = result["aus"]["AU12"]
    assert (row["r"], row["slope"], row["leak"]) == (
        pytest.approx(1),
        pytest.approx(0.5),
        pytest.approx(0.1 / 16),
    )
    assert np.array(result["answers"]) == pytest.approx(
        0.5 * np.eye(17) + 0.1 * np.roll(np.eye(17), 1, axis=1), abs=1e-6
    )
    assert result["landmarks_found"] == pytest.approx(1 - 1 / 136) and result["zero_edit_psnr_worst_db"] == 40
    assert result["identity_cosine"] == pytest.approx(0.9) and result["sharpness"] is None
    assert result["mean_changed_at_full"] == pytest.approx(0.1) and result["background_error_grey"] == 0.5


def test_a_lost_face_is_the_worst_case_and_no_two_cases_share_a_face_or_an_au():
    chosen = cases(hand_made_sweep())
    assert chosen["worst"][0] == {
        "face": 1,
        "au": "AU07",
        "commanded": 1.0,
        "measured": None,
        "miss": None,
        "identity": None,
    }
    assert chosen["best"][0]["miss"] == pytest.approx(np.hypot(0.5, 0.1))
    for some in chosen.values():
        assert len({case["face"] for case in some}) == len({case["au"] for case in some}) == len(some) == 2


class IdleEngine(StubEngine):
    """Does nothing, whatever its input."""

    def run(self, picture: np.ndarray, aus: np.ndarray) -> Edit:
        return Edit(np.zeros_like(picture), np.ones(picture.shape[:2], np.float32), None)


def test_an_engine_that_does_nothing_is_found_out(people):
    rows = sweep(IdleEngine(256), people, [0], looks)
    result = table(rows)
    assert result["mean_r"] == result["mean_slope"] == result["mean_leak"] == result["mean_changed"] == 0
    assert result["zero_edit_psnr_db"] == 100 and result["zero_edit_ssim"] == pytest.approx(1)
    assert result["identity_cosine"] == pytest.approx(1) and result["sharpness"] == pytest.approx(1)
    assert result["background_error_grey"] == 0 and result["kept_share"] == 1
    assert {case["miss"] for case in cases(rows)["worst"]} == {1.0}


def test_changes_start_from_the_photos_own_expression():
    own = np.full(len(WIDE), 0.25, np.float32)
    engine = StubEngine()
    assert not level_input(engine, own, (), 0.0).any()
    assert (
        level_input(engine, own, ("AU12",), 1.0)[SMILE] == 0.75
        and np.count_nonzero(level_input(engine, own, ("AU12",), 1.0)) == 1
    )
    assert level_input(StubEngine(aus=WIDE), own, ("AU12",), 1.0)[au_estimator.index(("AU12",))].tolist() == [
        0.75,
        0.75,
    ], "both sides alike"
    absolute = SimpleNamespace(bundle=SimpleNamespace(conditioning="absolute", aus=("AU12", "AU01")))
    assert level_input(absolute, own, ("AU12",), 1.0).tolist() == [1.0, 0.25], "in the engine's own order"


def test_halves_share_nobody_and_are_of_one_size(people):
    several = People.__new__(People)
    several.__dict__.update(people.__dict__)
    several.aus, several.angles_deg = (
        np.zeros((40, len(WIDE)), np.float32),
        np.zeros((40, 3), np.float32),
    )
    several.person = np.repeat(np.arange(10), 4)
    several.held_out, several.is_clip = np.ones(40, bool), np.zeros(40, bool)
    halves = split_held_out(several, 30)
    assert len(halves.real) == len(halves.edited) > 8
    assert not set(several.person[halves.real]) & set(several.person[halves.edited])
    several.held_out = np.zeros(40, bool)
    with pytest.raises(DataError, match="holds no people out"):
        choose_faces(several, 3)


def test_a_still_drivers_noise_is_the_stated_one_and_an_idle_puppet_never_flickers(people, tmp_path):
    noise = list(noisy(np.full((64, 64, 3), 100, np.uint8), 8))
    frames = np.array([frame.image for frame in noise], np.float32)
    assert frames.std() == pytest.approx(NOISE_GREY, rel=0.05)
    driver, region = (
        np.random.default_rng(0).uniform(0, 1, (4, len(WIDE))).astype(np.float32),
        np.ones((256, 256), bool),
    )
    assert puppet_flicker(IdleEngine(256), people.picture(0), REST, region, driver) == 0
    assert puppet_flicker(StubEngine(256), people.picture(0), REST, region, driver) > 1


def test_a_wrong_still_clip_is_noticed_before_the_sweep(engine, people, tmp_path, monkeypatch):
    monkeypatch.setattr("train.report.evaluate.sweep", lambda *_: pytest.fail("an hour later"))
    (tmp_path / "clip.mp4").write_bytes(b"no clip")
    with pytest.raises(DataError, match="not a video that can be played"):
        evaluate(engine, people, tmp_path, count=1, still=tmp_path / "clip.mp4")


def test_a_reports_folder_that_is_a_file_is_refused_in_one_sentence(engine, people, tmp_path):
    (tmp_path / "file").write_text("no folder")
    for work in (
        lambda out: evaluate(engine, people, out, count=1),
        lambda out: figures.draw_all(None, engine, [SAMPLES / "man.jpg"], out),
        lambda out: compare([EngineEditor(engine)], people, out),
    ):
        with pytest.raises(OutputError, match=r"cannot be made.*choose another --out"):
            work(tmp_path / "file")


def test_nothing_outside_the_crop_changes(engine, people):
    assert outside_error(engine, people.picture(0), REST) == 0
    assert outside_error(StubEngine(256), people.picture(0), REST) == 0
    spilling = StubEngine(256, flow_px=32, down_px=5)  # still moves things at the crop's edge
    assert outside_error(spilling, people.picture(0), REST) > 10, "what leaves the crop is noticed"


def test_a_report_has_its_sections_and_its_pictures(report):
    result, folder = report
    text = (folder / "report.md").read_text()
    for title in (
        "Commanded and measured",
        "One side alone",
        "The same person",
        "Everything else stays",
        "Sharpness",
        "Best and worst",
        "Pictures",
    ):
        assert f"## {title}" in text
    assert "## A second" not in text, "not asked for"
    for au in PAPER_17:
        assert f"| {au} |" in text
    shown = {path.name for path in folder.glob("*.png")}
    assert shown == {
        "answers.png",
        "commanded.png",
        "aus.png",
        "masks.png",
        "cases.png",
        "sides.png",
    } and all(f"({name})" in text for name in shown)
    for name in shown:
        picture = cv2.imread(str(folder / name))
        assert (
            min(picture.shape[:2]) > 150 and picture.std() > 10 and (folder / name).stat().st_size < MAX_BYTES
        )
    assert (
        json.loads((folder / "figures.json").read_text()) == result
        and "NaN" not in (folder / "figures.json").read_text()
    )


def test_a_page_reports_sides_where_they_are_known(report):
    result, _ = report
    row = {"slope": 0.91, "other": 0.12}
    sided = {
        "faces": 3,
        "aus": {"AU12": row},
        "beyond": {"AU18": {"r": 0.83, "slope": None}},
        "mean_slope": 0.91,
        "mean_other": 0.12,
    }
    text = page(result | {"sided": sided})
    assert (
        "## One side alone" in text
        and "| AU12 | 0.91 | 0.12 |" in text
        and "| AU18 | 0.83 | - |" in text
        and "(sides.png)" in text
    )


def test_the_shipped_engine_does_what_its_report_claims(report):
    result, _ = report
    assert (
        result["faces"] == 1 and result["edits"] == 17 * 4 and np.array(result["answers"]).shape == (17, 17)
    )
    assert result["zero_edit_psnr_db"] > 45 and result["zero_edit_ssim"] > 0.99
    assert result["aus"]["AU12"]["r"] > 0.8 and result["landmarks_found"] > 0.95
    assert result["background_error_grey"] < 0.5 and result["outside_crop_error_grey"] == 0
    assert 0 < result["flicker_grey"] < 3 and result["flicker_pairs"] == 1
    assert (
        result["frechet_samples"] == 2
        and result["frechet_edited"] >= 0
        and 0.9 < result["identity_cosine_p5"] <= 1
    )
    assert result["frechet_parts"] == ["mouth"] and result["frechet_mouth_edited"] >= 0
    assert 0 < result["engine_ms"] <= result["engine_p95_ms"]
    assert result["native_photos"] == 1 and result["native_sharpness"] > 0.9
    assert result["sided"]["faces"] == 1 and result["second_opinion"] is None


def test_an_engine_of_smaller_crops_sees_the_corpus_smaller(people):
    small = at_size(people, 128)
    assert (
        small.picture(0).shape == (128, 128, 3)
        and len(small) == 4
        and small.aus is people.aus
        and at_size(people, 256) is people
    )
    with pytest.raises(DataError, match="--size 512"):
        at_size(people, 512)


def test_a_sheet_is_as_large_as_its_cells_and_a_png_as_small_as_asked(tmp_path):
    rng = np.random.default_rng(0)
    cell = rng.integers(0, 256, (50, 50, 3), dtype=np.uint8)
    assert sheet([[cell, None], [cell]], ["a", "b"], ["x", "y"], cell_px=40, names_px=30).shape == (
        26 + 2 * 43,
        30 + 2 * 43,
        3,
    )
    noise = rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    assert write_png(tmp_path / "a" / "noise.png", noise, 60_000).stat().st_size <= 60_000
    assert np.array_equal(cv2.imread(str(write_png(tmp_path / "whole.png", noise, None))), noise)
    with pytest.raises(OutputError, match="choose another --out"):
        write_png(tmp_path / "whole.png" / "below a file.png", noise)


@pytest.fixture(scope="module")
def small_photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "man.png"
    cv2.imwrite(
        str(path), cv2.resize(cv2.imread(str(SAMPLES / "man.jpg")), (301, 301), interpolation=cv2.INTER_AREA)
    )
    return path


@pytest.mark.parametrize(
    ("figure", "size"),
    [(4, (26 + 9 * 163, 2 * (64 + 4 * 163))), (5, (26 + 7 * 227, 84 + 5 * 227)), (7, (1176, 1176))],
)
def test_figures_have_all_their_cells(engine, small_photo, tmp_path, figure, size):
    (path,) = figures.draw(figure, engine, [small_photo], tmp_path)
    picture = cv2.imread(str(path))
    assert (
        path.name == f"figure-{figure}-man.png"
        and picture.shape[:2] == size
        and path.stat().st_size < MAX_BYTES
    )


def test_the_film_goes_up_and_back_and_plays_in_browsers(engine, small_photo, tmp_path, monkeypatch):
    import av

    monkeypatch.setattr(animation, "EXPRESSIONS", animation.EXPRESSIONS[:1])
    film, frames = figures.draw(1, engine, [small_photo], tmp_path)
    sequence = np.array(list(animation.expression_sequence(REST)))
    assert (
        sequence[0].max() == 0
        and sequence[-1].max() == 0
        and sequence[:, WIDE.index("AU12R")].max() == 1
        and np.abs(np.diff(sequence, axis=0)).max() < 0.15
    )
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        shown = [frame.to_ndarray(format="bgr24").astype(float) for frame in container.decode(stream)]
    assert len(shown) == len(sequence) and shown[0].shape[0] % 2 == 0
    assert np.abs(shown[0] - shown[-1]).mean() < 1 < np.abs(shown[0] - shown[len(shown) // 2]).mean()
    assert cv2.imread(str(frames)).shape[:2] == (26 + 195, 84 + 5 * 195)


@pytest.mark.slow
def test_several_photos_perform_together_in_one_animated_picture_without_end(
    engine, small_photo, tmp_path, monkeypatch
):
    from PIL import Image

    monkeypatch.setattr(animation, "EXPRESSIONS", animation.EXPRESSIONS[:2])
    photos = read_photos([small_photo, SAMPLES / "woman.jpg"], engine.bundle.size_px)
    picture = Image.open(animation.write_montage(engine, photos, tmp_path / "figure-1.webp"))
    assert picture.format == "WEBP" and picture.size == (512, 256) and picture.info["loop"] == 0
    assert picture.n_frames > 20
    shown = []
    for number in (0, picture.n_frames // 4, picture.n_frames - 1):
        picture.seek(number)
        shown.append(np.asarray(picture.convert("RGB")).astype(float))
    assert np.abs(shown[0] - shown[1]).mean() > 1 and np.abs(shown[0] - shown[2]).mean() < 1, (
        "it moves, and ends where it began"
    )
    with pytest.raises(OutputError, match="choose another --out"):
        animation.write_montage(engine, photos[:1], tmp_path / "figure-1.webp" / "below a file.webp")


def test_curves_laid_over_the_animated_picture_are_stretched_to_a_loop_without_a_jump(tmp_path, monkeypatch):
    monkeypatch.setattr(animation, "EXPRESSIONS", animation.EXPRESSIONS[:2])
    turn = len(list(animation.expression_sequence(REST, animation.MONTAGE_FPS)))
    acted = []

    def act(photo, drivers, film, options):
        acted.append((np.loadtxt(drivers[0], delimiter=",", skiprows=1)[:, 1:], drivers[1:]))
        return film

    monkeypatch.setattr(animation, "animate", act)
    steps = [np.full((8, 8, 3), number, np.uint8) for number in range(2 * turn)]
    monkeypatch.setattr(animation, "_read_frames", lambda _film: steps)
    written = []
    monkeypatch.setattr(animation, "_write_loop", lambda parts, path, quality: written.extend(parts))
    animation.write_moving_montage([Path("a.jpg"), Path("b.jpg")], ["look.csv:head"], tmp_path / "f.webp")
    (first, over), (second, _) = acted
    seconds = turn / animation.MONTAGE_FPS
    assert over == [f"look.csv:head@duration={seconds + 0.3:g}@loop=0.3"] and len(first) == 2 * turn
    assert np.array_equal(first[:turn], first[turn:]) and np.array_equal(
        second, np.roll(first, -turn // 2, 0)
    )
    assert len(written) == 2 and written[0] is not written[1]
    assert [frame.max() for frame in written[0]] == list(range(turn, 2 * turn)), "the second turn"


def test_every_face_of_a_group_is_edited_and_the_rest_is_the_photo(engine, tmp_path):
    pair = [
        cv2.resize(cv2.imread(str(SAMPLES / f"{name}.jpg")), (360, 360), interpolation=cv2.INTER_AREA)
        for name in ("man", "mature")
    ]
    group = cv2.copyMakeBorder(np.hstack(pair), 40, 40, 40, 40, cv2.BORDER_CONSTANT, value=(10, 200, 30))
    cv2.imwrite(str(tmp_path / "group.png"), group)
    small, whole = figures.draw(8, engine, [tmp_path / "group.png"], tmp_path / "out")
    drawn = cv2.imread(str(whole))
    (photo,) = read_photos([tmp_path / "group.png"], engine.bundle.size_px)
    assert len(photo.subjects) == 2 and drawn.shape == group.shape and small.stat().st_size < MAX_BYTES
    outside = np.ones(group.shape[:2], bool)
    for subject in photo.subjects:
        size = subject.crop.size_px
        corners = subject.crop.to_frame(
            np.array([[-1, -1], [size, -1], [size, size], [-1, size]], np.float64)
        )
        inside = measures.polygon(corners, group.shape[:2])
        outside &= ~inside
        assert np.abs(drawn.astype(int) - group)[inside].max() > 30, "the smile is there"
    assert outside.sum() > 10_000 and np.array_equal(drawn[outside], group[outside])


def test_photos_of_one_name_do_not_overwrite_each_other(engine, small_photo, tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(small_photo, tmp_path / "other" / "Man.png")
    assert [
        photo.name for photo in read_photos([small_photo, tmp_path / "other" / "Man.png", small_photo], 256)
    ] == [
        "man",
        "Man-2",
        "man-3",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no photo at"),
        (b"no picture", "not a picture"),
        ("cut", "damaged or cut short"),
        ("wall", "No face"),
    ],
)
def test_photos_that_cannot_be_used_are_refused_in_one_sentence(engine, tmp_path, content, message):
    path = tmp_path / "photo.jpg"
    if content == "wall":
        cv2.imwrite(str(path), np.full((200, 200, 3), 120, np.uint8))
    elif content is not None:
        path.write_bytes((SAMPLES / "man.jpg").read_bytes()[:20_000] if content == "cut" else content)
    with pytest.raises(SourceError, match=message):
        figures.draw(5, engine, [path], tmp_path)


def test_figure_nine_shows_an_evaluations_cases_and_refuses_anothers(report, engine, people, tmp_path):
    result, folder = report
    (path,) = figures.draw_all(None, engine, [], tmp_path, corpus=people, evaluation=folder)
    rows = max(len(result["cases"]["best"]), len(result["cases"]["worst"]))
    assert cv2.imread(str(path)).shape[0] == 26 + rows * 195
    with pytest.raises(DataError, match="corpus of 4 faces, this one has 1"):
        figures.draw(9, engine, [], tmp_path, corpus=People(("man",)), evaluation=folder)
    with pytest.raises(DataError, match="of default, another engine than"):
        figures.draw(9, StubEngine(256), [], tmp_path, corpus=people, evaluation=folder)
    with pytest.raises(DataError, match="leave --evaluation out"):
        figures.draw_all(None, engine, [SAMPLES / "man.jpg"], tmp_path, evaluation=folder)
    with pytest.raises(DataError, match=r"no figures\.json"):
        figures.draw(9, engine, [], tmp_path, corpus=people, evaluation=tmp_path / "nowhere")
    with pytest.raises(DataError, match="give a corpus"):
        figures.draw(9, engine, [], tmp_path)
    with pytest.raises(DataError, match="no figure 3"):
        figures.draw(3, engine, [], tmp_path)
    with pytest.raises(SourceError, match="nothing to draw"):
        figures.draw_all(None, engine, [], tmp_path)


def test_sampled_expressions_are_many_and_real_ones_come_from_the_corpus(people):
    made_up = np.array(figures.random_expressions(REST))
    assert (
        made_up.shape == (72, 29)
        and made_up.min() >= 0
        and made_up.max() <= 1
        and len(np.unique(made_up, axis=0)) == 72
    )
    real = np.array(figures.real_expressions(people))
    assert real.shape == (72, 29) and all(
        np.isclose(np.clip(people.aus, 0, 1), row).all(axis=1).any() for row in real
    )


class HappyOnly:
    """A baseline's double: paints green for one emotion, knows no other."""

    name, shape = "happy only", {"size_px": 128}

    def translate(self, networks, pictures, emotion):
        assert pictures.shape == (1, 3, 128, 128) and float(pictures.max()) <= 1
        return pictures * torch.tensor([0.9, 1.0, 0.9])[:, None, None] if emotion == "happy" else None


def test_methods_are_compared_on_the_same_faces(engine, people, tmp_path):
    runs = [RecipeEditor(HappyOnly(), {}), RecipeEditor(HappyOnly(), {}, name="longer")]
    result = compare([EngineEditor(engine), *runs], people, tmp_path, count=2, identity=looks)
    ours, theirs = result["methods"]["default"], result["methods"]["happy only"]
    assert result["methods"]["longer"] == theirs and result["faces"] == 2
    assert ours["edits"] == 2 * 6 and theirs["edits"] == 2 and theirs["emotions"] == ["happy"]
    assert ours["au_error_of_idle"] < 0.95 and theirs["au_error_of_idle"] == pytest.approx(1, abs=0.15)
    assert ours["identity_cosine"] > 0.9 and ours["frechet"] >= 0 and result["frechet_samples"] == 2
    text = (tmp_path / "compare.md").read_text()
    assert (
        "| default |" in text
        and "| happy only |" in text
        and "| longer |" in text
        and "(figure-6.png)" in text
    )
    assert cv2.imread(str(tmp_path / "figure-6.png")).shape[:2] == (26 + 6 * 153, 110 + 7 * 153)
    assert json.loads((tmp_path / "compare.json").read_text()) == result
    with pytest.raises(DataError, match="same name"):
        compare([EngineEditor(engine), EngineEditor(engine)], people, tmp_path)
    with pytest.raises(DataError, match="Nothing to compare"):
        compare([], people, tmp_path)


@pytest.mark.parametrize("emotion", EMOTIONS[1:])
def test_an_emotion_sets_its_aus_and_lays_the_others_to_rest(emotion):
    goal, named = wanted(REST + 1, emotion), prototype(emotion) > 0
    assert goal[named] == pytest.approx(prototype(emotion)[named]) and (goal[~named] < 0.5).all()
    calm = wanted(REST, emotion)
    assert (calm[~named] == 0).all(), "what rests stays at rest"


class PlainGenerator(torch.nn.Module):
    """A generator's double without flow: the more AU12, the greener."""

    def __init__(self, conditioning: str, au_names: tuple[str, ...] = PAPER_17):
        super().__init__()
        self.shape = SimpleNamespace(conditioning=conditioning, size_px=64, au_names=au_names)
        self.green = torch.nn.Parameter(torch.tensor([0.0, 1.0, 0.0]))

    def forward(self, photo, aus):
        colour = self.green[None, :, None, None].expand_as(photo)
        return (
            colour,
            1 - aus[:, SMILE].clamp(0, 1)[:, None, None, None].expand(-1, 1, *photo.shape[2:]),
            None,
        )


def test_a_grid_shows_every_person_and_every_level(people):
    small, side = at_size(people, 128), 64
    picture = grid(PlainGenerator("relative"), small, rows=2)
    assert (
        picture.shape == ((2 + len(LEVELS)) * side, (len(COLUMNS) + 3) * side, 3)
        and picture.dtype == np.uint8
    )
    smile = picture[20:side, COLUMNS.index(("AU12",)) * side : (COLUMNS.index(("AU12",)) + 1) * side]
    assert smile[..., 1].mean() > smile[..., 0].mean() + 40, "asked to smile, it turns green"


def test_a_grid_of_a_generator_that_knows_sides_shows_them_on_a_line_of_their_own(people):
    picture = grid(PlainGenerator("relative", WIDE), at_size(people, 128), rows=1)
    assert picture.shape[0] == (1 + len(LEVELS) + 1) * 64


def test_generators_get_the_inputs_they_were_trained_on():
    own, goal = REST + 0.25, REST + 1
    assert generator_input(PlainGenerator("relative"), own, goal) == pytest.approx(0.75)
    assert generator_input(PlainGenerator("absolute"), own, goal) == pytest.approx(1.0)
    crooked = wanted_at(REST, ("AU12L",), 1.0)
    assert generator_input(PlainGenerator("relative"), REST, crooked)[SMILE] == 0.5, (
        "half of the whole, where the vocabulary has no sides"
    )
    assert generator_input(PlainGenerator("relative", WIDE), REST, crooked)[
        [WIDE.index("AU12R"), WIDE.index("AU12L")]
    ].tolist() == [0, 1]
