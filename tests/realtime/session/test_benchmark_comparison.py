"""Two results of the benchmark side by side: figures, ratios, what else differs, files that are none."""

import copy
import json

import pytest

from realtime.commands.animate import main
from realtime.process import program

RESULT = {
    "engine": "default on OpenVINO (CPU)",
    "canvas": "1280x720",
    "driver": "look.mp4",
    "driver_size": "1280x720",
    "machine": {"cpu": "some CPU", "cores": 2},
    "versions": {"numpy": "2.4.6"},
    "throughput": {
        "fps": 50.0,
        "cpu_ms_per_picture": 30.0,
        "stages": {"generate": {"p50_ms": 6.0, "p95_ms": 9.0}, "only before": {"p50_ms": 1.0, "p95_ms": 1.0}},
    },
    "delay": {
        "fps": 30.0,
        "cpu_ms_per_picture": 31.0,
        "stages": {"capture to output": {"p50_ms": 0.0, "p95_ms": 40.0}},
    },
    "core_ms_by_stage": {"landmarks": 6.0, "generator": 10.0, "only before": 1.0},
    "peak_memory_mb": 700,
}


def said(capsys, *arguments) -> tuple[int, str, str]:
    status = main(["--benchmark", "--compare", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.fixture
def files(tmp_path):
    faster = copy.deepcopy(RESULT)
    faster["throughput"] |= {"fps": 60.0}
    del faster["throughput"]["stages"]["only before"]
    faster["throughput"]["stages"]["generate"]["p50_ms"] = 3.0
    faster["core_ms_by_stage"] = {"landmarks": 6.0, "generator": 5.0}
    faster["versions"] = {"numpy": "2.5.0", "av": "18.1.0"}
    paths = tmp_path / "a.json", tmp_path / "b.json"
    for path, result in zip(paths, (RESULT, faster), strict=True):
        path.write_text(json.dumps(result))
    return paths


def test_figures_stand_side_by_side_with_their_ratio_and_what_else_changed(files, capsys):
    status, text, _ = said(capsys, *files)
    rows = {line[:44].strip(): line[44:].split() for line in text.splitlines()}
    assert status == 0
    assert rows["as fast as it goes: pictures a second"] == ["50.0", "60.0", "1.20"]
    assert rows["generate, median, ms"] == ["6.0", "3.0", "0.50"]
    assert rows["in one thread: core-ms a picture"] == ["17.0", "11.0", "0.65"]
    assert rows["generator"] == ["10.0", "5.0", "0.50"]
    assert rows["capture to output, median, ms"] == ["0.0", "0.0", "-"], "nothing can be divided by 0"
    assert "numpy: 2.4.6 -> 2.5.0" in text and "av: - -> 18.1.0" in text and "cpu:" not in text
    assert "only before" not in text


def test_a_result_without_costs_is_compared_by_the_rest(files, capsys):
    result = json.loads(files[0].read_text())
    del result["core_ms_by_stage"]
    files[0].write_text(json.dumps(result))
    status, text, _ = said(capsys, *files)
    assert status == 0 and "in one thread" not in text and "pictures a second" in text


def test_equal_circumstances_are_said(files, capsys):
    _, text, _ = said(capsys, files[0], files[0])
    assert "Same engine, driver, machine and packages." in text


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"\xff\x00", "is no result of a benchmark"),
        (b"[1, 2]", "is no result of a benchmark"),
        (b'{"throughput": 3, "delay": {}}', "of another version"),
    ],
)
def test_a_file_that_is_no_result_is_refused_in_a_sentence(files, tmp_path, capsys, content, sentence):
    other = tmp_path / "other.json"
    if content is not None:
        other.write_bytes(content)
    status, _, error = said(capsys, files[0], other)
    assert status != 0 and sentence in error and "Traceback" not in error


def test_compare_alone_is_refused(files, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--compare", *map(str, files)])
    assert "--compare belongs to --benchmark" in capsys.readouterr().err


def test_the_version_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(program, "_name", program.SCRIPT)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("puppet 0.")
