"""The training loop: exact resume, clean ends, guard, faults; on one process and on two."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install -e '.[train]'")

from engines.errors import DataError  # noqa: E402
from tests.support.small_runs import TINY, lines, plan, small_paper, supervised  # noqa: E402
from train import __main__ as command  # noqa: E402
from train import checkpoint, distributed  # noqa: E402
from train.attention_guard import LARGEST, SMALLEST, AttentionGuard  # noqa: E402
from train.networks.compact import Shape  # noqa: E402
from train.recipes.recipe import Turn  # noqa: E402
from train.recipes.supervised import Supervised  # noqa: E402
from train.schedule import BatchNumbers, Schedule, rate_share  # noqa: E402
from train.synthesis.pairs import PairSource  # noqa: E402
from train.trainer import TrainingRun, fit  # noqa: E402

ROOT = Path(__file__).parents[2]
GANIMATION = ["--recipe", "ganimation", "--model", "paper", "--width", "8", "--critic-steps", "2"]
CRITIC_OF_PAIRS = ["--recipe", "supervised", "--critic"]
FIT = [
    "--size",
    "64",
    "--batch",
    "4",
    "--fp32",
    "--quiet",
    "--stats-every",
    "1",
    "--workers",
    "0",
    "--grid-every",
    "0",
]


def test_the_rate_rises_stays_and_falls():
    p = Schedule(images=1000, batch=10, warm_up=100, decay_from=0.5)
    rates = [rate_share(p, seen) for seen in range(0, 1000, 10)]
    assert (
        rates[0] < 0.2
        and rates[12] == rates[49] == 1.0
        and rates[75] == pytest.approx(0.5)
        and rates[-1] == pytest.approx(0.02)
    )


def test_every_process_takes_its_own_part_of_every_batch():
    one = list(BatchNumbers(8, 32, 8, 0, 1))
    two = [list(BatchNumbers(8, 32, 8, rank, 2)) for rank in (0, 1)]
    assert (
        one == [a + b for a, b in zip(*two, strict=True)]
        and len(BatchNumbers(8, 32, 8, 1, 2)) == len(one) == 3
    )
    assert len(BatchNumbers(8, 31, 8, 0, 1)) == 2, "what does not fill a batch is left out"


@pytest.mark.slow
def test_losses_fall_and_a_resumed_run_goes_on_exactly(corpus, tmp_path):
    assert fit(supervised(), corpus, tmp_path / "whole", plan(), quiet=True) == 160
    assert fit(supervised(), corpus, tmp_path / "parts", plan(), quiet=True, until=80) == 80
    fit(supervised(), corpus, tmp_path / "parts", plan(), quiet=True)
    whole, parts = (lines(tmp_path / name, "loss_generator") for name in ("whole", "parts"))
    assert len(whole) == 40 and whole == parts, "weights, moments, rate and pairs all came back"
    assert np.mean(whole[-8:]) < 0.9 * np.mean(whole[:8])


@pytest.mark.slow
@pytest.mark.parametrize("adversary", ["wgan-gp", "hinge-sn", "hinge-r1"])
def test_ganimation_resumes_exactly_and_moves_both_networks(corpus, tmp_path, adversary):
    before = {
        name: [p.clone() for p in net.parameters()] for name, net in small_paper(adversary).networks.items()
    }
    recipe = small_paper(adversary)
    fit(recipe, corpus, tmp_path / "whole", plan(images=32), quiet=True)
    fit(small_paper(adversary), corpus, tmp_path / "parts", plan(images=32), quiet=True, until=12)
    fit(small_paper(adversary), corpus, tmp_path / "parts", plan(images=32), quiet=True)
    for name, figures in (("critic", 8), ("generator", 4)):
        whole, parts = (lines(tmp_path / folder, f"loss_{name}") for folder in ("whole", "parts"))
        assert whole == parts and len(whole) == figures, "the generator's turn is every second step"
        moved = [
            not torch.equal(a, b)
            for a, b in zip(before[name], recipe.networks[name].parameters(), strict=True)
        ]
        assert all(moved), f"all of the {name} learns"


@pytest.mark.slow
def test_accumulated_micro_batches_give_the_losses_of_one_batch(corpus, tmp_path):
    for name, parts in (("one", 1), ("two", 2)):
        fit(
            small_paper("wgan-gp", "relative"),
            corpus,
            tmp_path / name,
            plan(images=24, accumulate=parts),
            quiet=True,
        )
    assert lines(tmp_path / "one", "loss_critic") == pytest.approx(
        lines(tmp_path / "two", "loss_critic"), rel=1e-4
    )
    assert lines(tmp_path / "one", "loss_generator") == pytest.approx(
        lines(tmp_path / "two", "loss_generator"), rel=1e-4
    )


@pytest.mark.slow
def test_accumulated_micro_batches_give_a_critic_of_pairs_the_losses_of_one_batch(corpus, tmp_path):
    for name, parts in (("one", 1), ("two", 2)):
        torch.manual_seed(0)
        fit(
            Supervised(TINY, critic=True),
            corpus,
            tmp_path / name,
            plan(images=16, accumulate=parts),
            quiet=True,
        )
    for loss in ("loss_critic", "loss_generator"):
        assert lines(tmp_path / "one", loss) == pytest.approx(lines(tmp_path / "two", loss), rel=1e-3), loss


def run_fit(
    corpus_folder: Path,
    out: Path,
    *more: str,
    launcher: tuple[str, ...] = (),
    recipe: list[str] = GANIMATION,
) -> subprocess.Popen:
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "PYTHONPATH": str(ROOT),
    }
    arguments = ["-m", "train", "fit", "--corpus", str(corpus_folder), "--out", str(out)]
    arguments += [*recipe, *FIT, *more]
    return subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    return out


@pytest.mark.slow
def test_after_sigkill_the_next_twenty_losses_are_those_of_a_run_that_was_not_killed(corpus_folder, tmp_path):
    finish(run_fit(corpus_folder, tmp_path / "whole", "--images", "400"))
    process = run_fit(corpus_folder, tmp_path / "killed", "--images", "4000", "--save-minutes", "0.002")
    until_s = time.monotonic() + 120
    while not (
        checkpoint.find(tmp_path / "killed" / "checkpoint")
        and len(lines(tmp_path / "killed", "loss_critic")) >= 12
    ):
        assert time.monotonic() < until_s and process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stood = checkpoint.read_state(tmp_path / "killed" / "checkpoint")["step"]
    assert 0 < stood <= 80, "this machine is too busy: it made 80 steps before it could be killed"
    finish(run_fit(corpus_folder, tmp_path / "killed", "--images", "400"))
    whole, killed = (lines(tmp_path / name, "loss_critic") for name in ("whole", "killed"))
    assert len(killed) == 100 and killed[stood : stood + 20] == whole[stood : stood + 20]
    assert (
        lines(tmp_path / "whole", "loss_generator")[-10:]
        == lines(tmp_path / "killed", "loss_generator")[-10:]
    )


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_the_same_global_batch(corpus_folder, tmp_path):
    pair = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    finish(run_fit(corpus_folder, tmp_path / "two", "--images", "40", launcher=pair))
    finish(run_fit(corpus_folder, tmp_path / "one", "--images", "40"))
    assert [
        checkpoint.read_state(tmp_path / name / "checkpoint")["processes"] for name in ("one", "two")
    ] == [1, 2]
    for name in ("loss_critic", "loss_generator", "penalty"):
        assert lines(tmp_path / "two", name) == pytest.approx(lines(tmp_path / "one", name), rel=2e-4), name
    assert len(lines(tmp_path / "two", "loss_critic")) == 10
    finish(run_fit(corpus_folder, tmp_path / "two", "--images", "48", launcher=pair))
    assert checkpoint.read_state(tmp_path / "two" / "checkpoint")["step"] == 12, "two go on as well as one"


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one_with_a_critic_of_pairs(corpus_folder, tmp_path):
    pair = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    for name, launcher in (("two", pair), ("one", ())):
        finish(
            run_fit(
                corpus_folder, tmp_path / name, "--images", "32", launcher=launcher, recipe=CRITIC_OF_PAIRS
            )
        )
    one, two = ((tmp_path / name / "stats.jsonl").read_text().splitlines() for name in ("one", "two"))
    losses = {name for line in one for name in json.loads(line) if name.startswith("loss_")}
    assert {"loss_critic", "loss_generator"} <= losses and len(one) == len(two)
    for name in losses:
        assert lines(tmp_path / "two", name) == pytest.approx(lines(tmp_path / "one", name), rel=1e-3), name


def test_max_minutes_ends_cleanly_with_a_checkpoint_that_goes_on(corpus_folder, tmp_path):
    output = finish(
        run_fit(
            corpus_folder, tmp_path, "--images", "100000", "--max-minutes", "0.02", "--grid-every", "100000"
        )
    )
    seen = checkpoint.read_state(tmp_path / "checkpoint")["seen"]
    assert 0 < seen < 100000 and f"{seen} of 100000 images seen" in output
    assert list(tmp_path.glob("tensorboard/events*")) and list(tmp_path.glob("grid-*.png")), (
        "and with something to look at"
    )


def test_a_checkpoint_of_another_network_is_refused_and_left_alone(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)
    before = (tmp_path / "checkpoint" / "generator.safetensors").read_bytes()
    with pytest.raises(DataError, match="shape differ"):
        fit(
            supervised(Shape(size_px=64, quarter=4, eighth=8, sixteenth=8)),
            corpus,
            tmp_path,
            plan(images=16),
            quiet=True,
        )
    with pytest.raises(DataError, match="recipe, shape differ"):
        fit(small_paper(), corpus, tmp_path, plan(images=16), quiet=True)
    assert (tmp_path / "checkpoint" / "generator.safetensors").read_bytes() == before


def test_a_checkpoint_of_another_au_set_is_refused(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)
    path = tmp_path / "checkpoint" / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "aus": ["AU01"]}))
    with pytest.raises(DataError, match="aus differ"):
        fit(supervised(), corpus, tmp_path, plan(images=16), quiet=True)


def test_a_damaged_checkpoint_is_refused_in_one_sentence(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)
    weights = tmp_path / "checkpoint" / "generator.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DataError, match="damaged"):
        fit(supervised(), corpus, tmp_path, plan(images=16), quiet=True)


def test_a_full_disk_leaves_the_checkpoint_before_it_alone(corpus, tmp_path, monkeypatch):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DataError, match="free some disk space"):
        fit(supervised(), corpus, tmp_path, plan(images=16), quiet=True)
    assert (
        checkpoint.read_state(tmp_path / "checkpoint")["seen"] == 8
        and not (tmp_path / "checkpoint.part").exists()
    )


def test_a_run_killed_between_the_two_renames_goes_on_from_the_checkpoint_before(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    assert fit(supervised(), corpus, tmp_path, plan(images=16), quiet=True) == 16
    assert len(lines(tmp_path, "loss_generator")) == 4 and not (tmp_path / "checkpoint.old").exists()


def test_a_loss_that_is_no_number_keeps_the_batch_and_leaves_the_checkpoint_alone(
    corpus, tmp_path, monkeypatch
):
    fit(supervised(), corpus, tmp_path, plan(), quiet=True, until=4)
    whole = PairSource.__getitem__

    def spoilt(self, number):
        sample = whole(self, number)
        return {**sample, "change": np.full(29, np.nan, np.float32)} if number == 9 else sample

    monkeypatch.setattr(PairSource, "__getitem__", spoilt)
    with pytest.raises(DataError, match="loss is no longer a number after 8 images"):
        fit(supervised(), corpus, tmp_path, plan(), quiet=True)
    assert np.isnan(np.load(tmp_path / "bad_batch.npz")["change"][1]).all()
    assert checkpoint.read_state(tmp_path / "checkpoint")["seen"] == 4


def test_a_gradient_that_is_no_number_moves_no_weight(corpus, tmp_path):
    recipe = supervised()
    run = TrainingRun(recipe, tmp_path, plan())
    samples = {name: torch.from_numpy(np.stack([value])) for name, value in PairSource(corpus, 0)[0].items()}
    before = [p.clone() for p in recipe.networks["generator"].parameters()]

    def sharp(batch):  # a finite loss whose slope is not
        total = recipe.turns(0)[0].loss(batch)[0]
        return total.detach() + torch.sqrt(total * 0), {}

    with pytest.raises(DataError, match="gradient is no longer a number"):
        run.take(Turn(("generator",), sharp), [recipe.batch(samples)], samples)
    assert all(
        torch.equal(a, b) for a, b in zip(before, recipe.networks["generator"].parameters(), strict=True)
    )


def test_a_damaged_shard_met_by_a_loader_process_is_one_sentence(corpus_folder, tmp_path, capsys):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus_folder, folder)
    shard = folder / "shard-000000.tar"
    shard.write_bytes(bytes(shard.stat().st_size))
    arguments = ["fit", "--corpus", str(folder), "--out", str(tmp_path / "run"), *FIT, "--images", "40"]
    assert command.main([*arguments, "--workers", "1"]) == 8
    output = capsys.readouterr().err
    assert "damaged" in output and "Traceback" not in output and "Caught" not in output


def test_a_batch_that_does_not_divide_is_refused(tmp_path):
    with pytest.raises(DataError, match="does not divide"):
        TrainingRun(supervised(), tmp_path, plan(batch=5, accumulate=2))


@pytest.mark.parametrize(
    ("presses_up", "attention", "factor"),
    [(True, 0.999, 0.5), (True, 0.5, 2.0), (False, 0.999, 2.0), (False, 0.5, 0.5)],
)
def test_the_guard_moves_the_weight_against_the_collapse_and_reports_it(presses_up, attention, factor):
    guard = AttentionGuard(presses_up=presses_up, rests_until=10)
    assert guard.adjust(0.9, 10) is None and guard.adjust(attention, 9) is None and guard.factor == 1.0
    assert f"x {factor:g}" in guard.adjust(attention, 10) and guard.factor == factor
    for _ in range(20):
        output = guard.adjust(attention, 11)
    assert guard.factor in (SMALLEST, LARGEST) and "at its bound" in output


def test_a_collapsed_run_is_acted_on_and_the_act_is_kept(corpus, tmp_path, capfd):
    recipe = supervised()
    with torch.no_grad():
        recipe.networks["generator"].out.bias[12:16] = 12.0  # A is 1 everywhere: a copy
    fit(recipe, with_somebody_held_out(corpus), tmp_path, plan(images=16, report_every=8), quiet=True)
    assert "attention guard after 8 images" in "".join(capfd.readouterr())
    assert checkpoint.read_state(tmp_path / "checkpoint")["guard"] == recipe.guard.factor == 0.25
    assert lines(tmp_path, "attention_weight")[0] == 1.0


def with_somebody_held_out(corpus):
    held_out = np.zeros(len(corpus), bool)
    held_out[0] = True
    return dataclasses.replace(corpus, held_out=held_out)


def test_a_line_that_a_killed_run_left_half_written_is_dropped(corpus, tmp_path):
    fit(supervised(), corpus, tmp_path, plan(images=8), quiet=True)
    with open(tmp_path / "stats.jsonl", "a") as stats:
        stats.write('{"seen": 8, "loss_gen')
    fit(supervised(), corpus, tmp_path, plan(images=16), quiet=True)
    assert len(lines(tmp_path, "loss_generator")) == 4


def test_faces_on_the_device_are_the_faces_from_disk(corpus):
    from train.data.faces import FaceSamples
    from train.data.resident import ResidentFaces

    from_disk = FaceSamples(corpus, 3, 64)
    resident = ResidentFaces(from_disk, torch.device("cpu"))
    numbers = range(12)
    samples = {name: torch.from_numpy(np.stack([resident[i][name] for i in numbers])) for name in resident[0]}
    filled = resident.fill(samples)
    for i in numbers:
        for name, value in from_disk[i].items():
            if name != "picture":
                assert np.array_equal(filled[name][i].numpy(), value), name
        assert np.abs(filled["picture"][i].numpy().astype(int) - from_disk[i]["picture"]).mean() < 1.0, (
            "turned, moved and mirrored alike"
        )


def test_a_run_on_resident_faces_trains_and_the_supervised_one_refuses(corpus, tmp_path):
    fit(small_paper(), corpus, tmp_path / "run", plan(images=16, resident=True), quiet=True)
    assert len(lines(tmp_path / "run", "loss_critic")) == 4
    with pytest.raises(DataError, match="draws its samples from disk"):
        fit(supervised(), corpus, tmp_path / "other", plan(images=16, resident=True), quiet=True)


def test_a_cpu_that_only_imitates_bf16_computes_in_full_precision_and_says_so(
    corpus, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(distributed, "computes_in_bf16", lambda: False)
    fit(supervised(), corpus, tmp_path / "imitated", plan(images=8, bf16=True), quiet=True)
    assert "This CPU only imitates bf16" in "".join(capsys.readouterr())
    fit(supervised(), corpus, tmp_path / "full", plan(images=8, bf16=False), quiet=True)
    assert "imitates" not in "".join(capsys.readouterr())
    assert lines(tmp_path / "imitated", "loss_generator") == lines(tmp_path / "full", "loss_generator")


def test_a_loading_process_that_dies_is_one_sentence(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(PairSource, "__getitem__", lambda _self, _number: os._exit(9))
    with pytest.raises(DataError, match=r"A process that loads pictures died.*fewer --workers"):
        fit(supervised(), corpus, tmp_path / "run", plan(workers=1), quiet=True)
