"""The evaluation's figures as a page of Markdown.

Knows figures.json and the names of the PNGs beside it, and measures nothing.
"""

import numpy as np

MAIN_AUS = ("AU01", "AU02", "AU04", "AU12", "AU25", "AU26", "AU45")


def number(value: float | None, form: str = ".3f", unit: str = "") -> str:
    """A figure as text; a dash where there is none."""
    return "-" if value is None else f"{value:{form}}{unit}"


def page(result: dict) -> str:
    """report.md of what `evaluate` measured."""
    r = result
    lines = [
        f"# Evaluation of {r['bundle']} ({r['engine']})",
        "",
        f"{r['faces']} photos of people that the corpus holds out of training, {r['edits']} edits of single "
        "AUs at four levels; AUs measured again by "
        f"{r['estimator']}, which also made the training's labels: part of the agreement is the estimator's "
        "with itself.",
        "",
    ]
    if r["unread_faces"]:
        lines += [f"In {r['unread_faces']} more crops the landmarker found no face; they are left out.", ""]
    for section in (
        _summary,
        _aus,
        _sides,
        _second_opinion,
        _same_person,
        _elsewhere,
        _sharpness,
        _transfer,
        _cases,
        _pictures,
    ):
        written = section(r)
        lines += [*written, ""] if written else []
    return "\n".join(lines).rstrip("\n") + "\n"


def _summary(r: dict) -> list[str]:
    main = np.mean([r["aus"][au]["r"] for au in MAIN_AUS])
    rows = [
        (
            "commanded against measured, mean r",
            f"{number(r['mean_r'])} over {len(r['aus'])} AUs; {main:.3f} over {' '.join(MAIN_AUS)}",
        ),
        ("mean slope, RMSE", f"{number(r['mean_slope'])}, {number(r['mean_rmse'])}"),
        ("off-target leakage a unit", number(r["mean_leak"])),
        (
            "landmarks found",
            f"{number(r['landmarks_found'], '.1%')}; after full smiles "
            f"{number(r['smile_landmarks_found'], '.1%')}",
        ),
        (
            "identity cosine, full single AUs",
            f"{number(r['identity_cosine'])}, 5th percentile {number(r['identity_cosine_p5'])}",
        ),
        (
            "identity cosine, full smile, open mouth",
            f"{number(r['smile_identity_cosine'])}, 5th percentile {number(r['smile_identity_cosine_p5'])}",
        ),
        (
            "Frechet distance, edited / real",
            f"{number(r.get('frechet_edited'), '.4f')} / {number(r.get('frechet_real'), '.4f')}",
        ),
        *(
            (
                f"Frechet distance of {part} alone, edited / real",
                f"{number(r[f'frechet_{part}_edited'], '.4f')} / {number(r[f'frechet_{part}_real'], '.4f')}",
            )
            for part in r.get("frechet_parts", ())
        ),
        (
            "zero edit, PSNR",
            f"{number(r['zero_edit_psnr_db'], '.1f')} dB, worst "
            f"{number(r['zero_edit_psnr_worst_db'], '.1f')} (100 is equal)",
        ),
        (
            "zero edit, SSIM",
            f"{number(r['zero_edit_ssim'], '.4f')}, worst {number(r['zero_edit_ssim_worst'], '.4f')}",
        ),
        (
            "background error where A keeps, nothing moves",
            f"{number(r['background_error_grey'], '.3f')} grey levels",
        ),
        ("greatest error outside the crop", f"{number(r['outside_crop_error_grey'], '.0f')} grey levels"),
        ("flicker on a still driver", f"{number(r['flicker_grey'], '.2f')} grey levels RMS"),
        (
            "sharpness of the face, of the crop's",
            f"{number(r['sharpness'], '.2f')}; full smile {number(r['smile_sharpness'], '.2f')}",
        ),
        *_beside(r),
        (
            "mean(1 - A)",
            f"{number(r['mean_changed'], '.4f')}; at full level {number(r['mean_changed_at_full'], '.4f')}",
        ),
        (
            "speed",
            f"{number(r['engine_ms'], '.1f')} ms a crop, 95th percentile {number(r['engine_p95_ms'], '.1f')} "
            "ms",
        ),
    ]
    return ["| | |", "|---|---|", *[f"| {name} | {value} |" for name, value in rows]]


def _beside(r: dict) -> list[tuple[str, str]]:
    """Rows of what only some evaluations measure."""
    rows = []
    if r["native_photos"]:
        single, ideal = (number(r[f"native_sharpness{end}"], ".2f") for end in ("", "_ideal"))
        smile, ideal_smile = (number(r[f"native_smile_sharpness{end}"], ".2f") for end in ("", "_ideal"))
        value = f"{single}; full smile {smile} (ideally {ideal}; full smile {ideal_smile})"
        rows.append(("sharpness of the face at the photo's own size, of the photo's", value))
    if r["sided"]:
        rows.append(
            (
                "one side alone, mean slope; of the other side",
                f"{number(r['sided']['mean_slope'])}; {number(r['sided']['mean_other'])}",
            )
        )
    if r["second_opinion"]:
        second = r["second_opinion"]
        value = f"{number(second['mean_r'])}, {number(second['mean_slope'])} over {len(second['aus'])} AUs"
        rows.append(("second opinion: mean r, independent slope", value))
    return rows


def _aus(r: dict) -> list[str]:
    lines = ["## Commanded and measured AUs", "", "| AU | r | slope | RMSE | leak |", "|---|---|---|---|---|"]
    lines += [
        f"| {au} | {row['r']:.2f} | {row['slope']:.2f} | {row['rmse']:.2f} | {number(row['leak'], '.2f')} |"
        for au, row in r["aus"].items()
    ]
    return [
        *lines,
        "",
        "![commanded against measured](commanded.png)",
        "",
        "Off-target: what every AU (columns) does a unit of a commanded one (rows).",
        "",
        "![answers](answers.png)",
    ]


def _sides(r: dict) -> list[str]:
    if not r["sided"]:
        return []
    lines = [
        "## One side alone",
        "",
        f"Each sided AU at full on one side of {r['sided']['faces']} faces, then on the other: what that "
        "side did a unit of command, and "
        "what the other side did. Perfect is 1 and 0.",
        "",
        "| AU | commanded side | other side |",
        "|---|---|---|",
    ]
    lines += [
        f"| {au} | {number(row['slope'], '.2f')} | {number(row['other'], '.2f')} |"
        for au, row in r["sided"]["aus"].items()
    ]
    if r["sided"]["beyond"]:
        lines += ["", "Beyond the paper's 17, at four levels:", "", "| AU | r | slope |", "|---|---|---|"]
        lines += [
            f"| {au} | {number(row['r'], '.2f')} | {number(row['slope'], '.2f')} |"
            for au, row in r["sided"]["beyond"].items()
        ]
    return [*lines, "", "![one side alone](sides.png)"]


def _second_opinion(r: dict) -> list[str]:
    if not r["second_opinion"]:
        return []
    lines = [
        "## A second opinion",
        "",
        "The same edits as dlib's 68 landmarks show them, which had no part in labels or training: a "
        "distance for each AU that they show. Its yardstick "
        "is how far the distance goes between real held-out people who show the AU weakly and strongly. r: "
        "between command and dlib's "
        "change. Independent slope: dlib's change a unit of command, in what it sees a unit of the AU "
        "between people. "
        "Real r: how well the distance follows the AU between people; where it is low, dlib hardly sees this "
        "AU.",
        "",
        "| AU | r | independent slope | slope by the estimator | real r | yardstick's AU, weak and strong |",
        "|---|---|---|---|---|---|",
    ]
    for au, row in r["second_opinion"]["aus"].items():
        span = f"{row['real']['low']:.2f}, {row['real']['high']:.2f}" if row["real"] else "-"
        lines.append(
            f"| {au} | {row['r']:.2f} | {number(row['slope'], '.2f')} | {r['aus'][au]['slope']:.2f} | "
            f"{number(row['real_r'], '.2f')} | {span} |"
        )
    return lines


def _same_person(r: dict) -> list[str]:
    lines = ["## The same person", ""]
    if "frechet_samples" not in r:
        return [*lines, "Not measured: give an identity network (--identity MobileFaceNet.tflite)."]
    if r["frechet_edited"] is None:
        return [
            *lines,
            "Cosine of identity features to the photo. Too few people are held out for a Frechet distance.",
        ]
    return [
        *lines,
        "Cosine of identity features to the photo; two strangers have "
        f"{number(r['identity_cosine_strangers'])} on average. The squared "
        f"Frechet distance is between {r['frechet_samples']} real held-out faces and {r['frechet_samples']} "
        "other people's, edited to another "
        f"photo's expression ({number(r['frechet_edited'], '.4f')}), and between the same two groups "
        f"unedited ({number(r['frechet_real'], '.4f')}, "
        "what no edit at all gives). The same people before and after the edit are "
        f"{number(r['frechet_same_people'], '.4f')} apart. With {r['frechet_features']} features and so few "
        "samples it is biased upwards: compare only runs of equal counts. Of mouths and eyes alone, "
        "enlarged, it is taken on a middle layer's means, which see how they are drawn.",
    ]


def _elsewhere(r: dict) -> list[str]:
    return [
        "## Everything else stays",
        "",
        f"Where A > .99 and the flow is under 0.05 px ({number(r['kept_share'], '.0%')} of the crop on "
        "average), edits differ from the photo by "
        f"{number(r['background_error_grey'], '.3f')} grey levels on average, "
        f"{number(r['background_error_worst_grey'], '.3f')} in the worst edit; outside the "
        f"crop by {number(r['outside_crop_error_grey'], '.0f')}.",
        "",
        f"Flicker: {r['flicker_pairs']} puppets, driver: {r['flicker_driver']}, read by the live tracker and "
        "not smoothed. Its AUs tremble by "
        f"{number(r['driver_tremble'], '.4f')} RMS from frame to frame, and the face by "
        f"{number(r['flicker_grey'], '.2f')} grey levels "
        f"(worst puppet {number(r['flicker_worst_grey'], '.2f')}).",
    ]


def _sharpness(r: dict) -> list[str]:
    lines = [
        "## Sharpness",
        "",
        "The median over full single AUs of the variance of the Laplacian inside the face's outline, divided "
        "by the unedited picture's. Crops were "
        "resampled once already.",
    ]
    if not r["native_photos"]:
        return [*lines, "At a photo's own resolution it was not measured: give --photos with large faces."]
    low, high = r["native_crop_px"]
    return [
        *lines,
        "",
        f"At their own resolution, in {r['native_photos']} photos whose crops are {low} to {high} px wide: "
        f"{number(r['native_sharpness'], '.2f')}, 5th percentile "
        f"{number(r['native_sharpness_p5'], '.2f')}. Stretched skin loses sharpness by right: the same "
        "motion by Lanczos sampling keeps "
        f"{number(r['native_sharpness_ideal'], '.2f')}, so {number(r['native_sharpness_of_ideal'], '.2f')} "
        "of what can be kept is kept.",
    ]


def _transfer(r: dict) -> list[str]:
    text = r.get("transfer")
    return ["## How much of a driver arrives", "", *text.rstrip("\n").splitlines()] if text else []


def _cases(r: dict) -> list[str]:
    lines = [
        "## Best and worst",
        "",
        "Single AUs brought to 1. Miss is |measured - commanded| over all AUs, divided by the command: 0 is "
        "perfect, 1 is what doing nothing gives.",
        "",
        "| | AU | face | commanded | measured | miss | identity |",
        "|---|---|---|---|---|---|---|",
    ]
    for kind in ("best", "worst"):
        lines += [
            f"| {kind} | {case['au']} | {case['face']} | {case['commanded']:+.2f} | "
            f"{number(case['measured'], '+.2f')} | {number(case['miss'], '.2f')} "
            f"| {number(case['identity'], '.2f')} |"
            for case in r["cases"][kind]
        ]
    return [*lines, "", "![best and worst cases](cases.png)"]


def _pictures(_r: dict) -> list[str]:
    return [
        "## Pictures",
        "",
        "Attention (white keeps the photo), colour, flow (hue: where to; strength: how far) and result.",
        "",
        "![attention, colour, flow, result](masks.png)",
        "",
        "Every AU at every level, two people.",
        "",
        "![single AUs](aus.png)",
    ]
