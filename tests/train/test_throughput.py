"""The throughput table: every network in every precision, with counted work."""

import re

import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from train import throughput  # noqa: E402


@pytest.mark.slow
def test_the_table_has_every_variant_with_counted_work_and_the_loader(corpus_folder, monkeypatch):
    monkeypatch.setattr(throughput, "MATRICES", (256,))
    monkeypatch.setattr(throughput, "LOADED_STEPS", 2)
    monkeypatch.setattr(throughput, "ROUNDS", 1)
    table = throughput.measure([corpus_folder], size_px=64, batch=2, seconds=0.01).splitlines()
    rows = {line[:24].strip(): line[24:].split() for line in table if re.match(r"(paper|compact) ", line)}
    precisions = ("fp32", "bf16") if throughput.computes_in_bf16() else ("fp32",)
    assert list(rows) == [
        f"{model} {precision}" for model in ("paper", "compact") for precision in precisions
    ]
    assert rows["paper fp32"][1] == "1.00", "ratios are to the first"
    # At 64 px a quarter of the listing's 10.63 and 0.68 GMAC, two FLOPs each: g + 12 c, but for the heads'
    # padding at the edge.
    assert float(rows["paper fp32"][4]) == pytest.approx(2 * (10.63 + 12 * 0.68) / 4, rel=0.02)
    assert all(float(row[0]) > 0 and row[5].endswith("%") for row in rows.values())
    assert "of a step waits for data" in table[-1]
