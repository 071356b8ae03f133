"""The loop: what is evaluated, kept and shown, when it ends, and what it says when something is wrong."""

import errno
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.small import QUICK, Drawn, assert_same, everything, remember, spots, trainer, weight_metric
from utils.core import checkpoint
from utils.core.contract import PoseModel
from utils.core.poses import Batch
from utils.training import trainer as trainer_module
from utils.training.guard import Guard

NAN = float("nan")


class Falling:
    """An evaluator whose AP rises to the third epoch and falls from there."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, model: PoseModel) -> Mapping[str, float]:
        self.calls += 1
        return {"AP": 0.5 - 0.1 * abs(self.calls - 3)}


class Poisoned(Drawn):
    """Drawn people; in one batch a keypoint lies nowhere."""

    def __init__(self, epoch: int, index: int) -> None:
        super().__init__(batches=6)
        self.where = (epoch, index)

    def batch(self, epoch: int, index: int) -> Batch:
        batch = super().batch(epoch, index)
        if (epoch, index) == self.where:
            batch.targets.keypoints[0] = NAN
        return batch


def test_training_ends_when_the_metric_has_not_risen_for_as_long_as_patience_lasts(tmp_path: Path) -> None:
    evaluate = Falling()
    outcome = trainer(tmp_path, replace(QUICK, epochs=50, patience=2), evaluate=evaluate).fit()
    assert (outcome.reason, outcome.best_epoch, outcome.best) == ("patience", 2, 0.5)
    assert evaluate.calls == 5
    assert (tmp_path / "weights" / "best.safetensors").read_text() == "{'AP': 0.5}"
    assert (tmp_path / "weights" / "last.safetensors").read_text() != "{'AP': 0.5}"


def test_evaluation_can_wait_for_the_last_epoch(tmp_path: Path) -> None:
    evaluate = Falling()
    run = trainer(tmp_path, replace(QUICK, epochs=3, evaluate_every=0), evaluate=evaluate)
    run.fit()
    assert evaluate.calls == 1
    assert ["metrics/AP" in row for row in run.run.rows] == [False, False, True]


def test_the_evaluator_gets_the_average_and_cannot_spoil_it(tmp_path: Path) -> None:
    def spoil(model: PoseModel) -> Mapping[str, float]:
        model.half()
        for parameter in model.parameters():
            parameter.data.zero_()
        return {"AP": 0.0}

    spoiled = trainer(tmp_path / "a", QUICK, evaluate=spoil)
    left_alone = trainer(tmp_path / "b", QUICK)
    spoiled.fit(), left_alone.fit()
    assert_same(everything(spoiled), everything(left_alone))


def test_a_missing_metric_is_named_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fitness: no number 'AP' among the metrics \(AP50 0\.5\); set fitness"):
        trainer(tmp_path, QUICK, evaluate=lambda model: {"AP50": 0.5}).fit()


def test_an_evaluator_that_fails_does_not_cost_the_epoch(tmp_path: Path) -> None:
    def fail(model: PoseModel) -> Mapping[str, float]:
        raise FileNotFoundError("val.json")

    with pytest.raises(FileNotFoundError):
        trainer(tmp_path, QUICK, evaluate=fail).fit()
    again = trainer(tmp_path, QUICK)
    again.resume(tmp_path / "weights" / "last.pt")
    assert (again.progress.epoch, again.progress.index) == (0, len(again.loader))
    assert again.fit().reason == "finished"


def test_the_first_batches_are_shown(tmp_path: Path) -> None:
    shown: list[str] = []
    trainer(tmp_path, QUICK, show=lambda path, batch: shown.append(path.name)).fit()
    assert shown == ["train_batch0.jpg", "train_batch1.jpg", "train_batch2.jpg"]


def test_frozen_layers_keep_their_weights_and_their_statistics(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(QUICK, freeze=("first", "norm")))
    run.fit()
    before, after = spots().state_dict(), run.learner.model.state_dict()
    assert [name for name in before if not torch.equal(before[name], after[name])] == ["last.weight", "last.bias"]


def test_mean_gradients_of_four_batches_are_those_of_one_large_batch(tmp_path: Path) -> None:
    """A loss that is a mean must not grow with the number of batches in a step."""
    run = trainer(tmp_path, replace(QUICK, gradients="mean", nominal_batch=8, timing="epoch", warmup_epochs=0))
    moment = run.learner.schedule.at(3)
    assert moment.accumulate == 4
    images, targets = run.learner.inputs(Drawn().batch(0, 0), 0)
    for _ in range(4):
        run.learner.backward(run.learner.losses(run.learner.forward(images), targets, 0), moment)
    gathered = run.learner.model.last.bias.grad.clone()
    run.learner.model.zero_grad()
    sum(run.learner.losses(run.learner.forward(images), targets, 0).values()).backward()
    torch.testing.assert_close(gathered, run.learner.model.last.bias.grad)


def test_an_empty_loader_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the training data has no batch"):
        trainer(tmp_path, QUICK, loader=Drawn(batches=0))


def test_compiling_is_optional_and_trains_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda model: torch.nn.ModuleList([model])[0])  # the real one takes minutes
    run = trainer(tmp_path, replace(QUICK, compile=True))
    run.fit()
    plain = trainer(tmp_path / "plain", QUICK)
    plain.fit()
    assert_same(everything(run), everything(plain))


# ---------------------------------------------------------------------------------------------- not a number


@pytest.mark.parametrize("look_every", [1, 50])
def test_a_loss_that_is_not_a_number_ends_the_run_and_names_the_images(tmp_path: Path, look_every: int) -> None:
    run = trainer(tmp_path, replace(QUICK, look_every=look_every), loader=Poisoned(1, 2))
    with pytest.raises(
        ValueError, match=r"epoch 1, step 2.*the loss is not a number for 1_2_0.jpg, 1_2_1.jpg;.*stopped"
    ):
        run.fit()
    kept = checkpoint.load_state(tmp_path / "weights" / "stopped.pt")
    for part in ("model", "ema"):
        assert all(torch.isfinite(tensor).all() for tensor in kept[part].values())
    last = checkpoint.load_state(tmp_path / "weights" / "last.pt")
    assert last["progress"]["epoch"] == 1 and last["progress"]["index"] == 0  # what the first epoch left


def test_batches_that_are_not_finite_can_be_left_out_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = trainer(tmp_path, replace(QUICK, nonfinite="skip"), loader=Poisoned(0, 3))
    assert run.fit().reason == "finished"
    assert [row["skipped"] for row in run.run.rows] == [1, 0]
    assert "0_3_0.jpg" in caplog.text and "left out" in caplog.text
    assert all(torch.isfinite(tensor).all() for tensor in everything(run).values())
    assert all(row["train/total"] > 0 for row in run.run.rows)


def test_the_statistics_of_normalisations_can_rest_in_the_last_epochs(tmp_path: Path) -> None:
    learner = trainer(tmp_path, replace(QUICK, epochs=3, rest_epochs=1)).learner
    norms = [module for module in learner.model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    learning = []
    for epoch in range(3):
        learner.start_epoch(epoch)
        learning.append({norm.training for norm in norms})
    assert norms and learning == [{True}, {True}, {False}]


def test_a_step_that_is_not_finite_moves_no_weight(tmp_path: Path) -> None:
    run = trainer(tmp_path, replace(QUICK, nominal_batch=2))
    run.learner.start_epoch()
    run.learner.learn(Drawn().batch(0, 0), 0)
    before = {name: tensor.clone() for name, tensor in run.learner.model.named_parameters()}
    batch = Drawn().batch(0, 1)
    batch.targets.keypoints[1, 2, 0] = NAN
    run.learner.learn(batch, 1)
    assert_same(before, dict(run.learner.model.named_parameters()))


def test_statistics_that_a_bad_batch_has_spoiled_are_put_back() -> None:
    norm = torch.nn.BatchNorm2d(3)
    guard = Guard(norm, torch.device("cpu"))
    norm.running_mean.fill_(2.0)
    guard.watch_loss(torch.tensor(1.0), 0, ["a.jpg"])
    guard.settle()
    norm.running_mean.fill_(NAN)
    guard.watch_loss(torch.tensor(NAN), 1, ["b.jpg"])
    guard.settle()
    assert norm.running_mean.tolist() == [2.0, 2.0, 2.0]
    count, bad = guard.look()
    assert count == 2 and [(entry.step, entry.names) for entry in bad] == [(1, ("b.jpg",))]
    assert guard.look() == (0, [])


def test_a_gradient_that_is_not_finite_is_laid_to_all_batches_of_its_step() -> None:
    guard = Guard(torch.nn.Linear(1, 1), torch.device("cpu"))
    for step in range(3):
        guard.watch_loss(torch.tensor(1.0), step, [f"{step}.jpg"])
        if step == 0:
            guard.settle()
    guard.watch_gradient(torch.tensor(float("inf")))
    guard.settle()
    assert [(entry.step, entry.what) for entry in guard.look()[1]] == [(1, "gradient"), (2, "gradient")]


# ---------------------------------------------------------------------------------------------- disks


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder should be")

    class Untouched(Drawn):
        def epoch(self, number: int, *, start: int = 0) -> Iterator[Batch]:
            raise AssertionError("training has begun")

    with pytest.raises(ValueError, match=r"run: cannot be written to: .*; make room, or choose another folder"):
        trainer(tmp_path / "run", QUICK, loader=Untouched()).fit()


def test_a_disk_that_is_almost_full_is_told_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(trainer_module.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(ValueError, match="0 MB are free, a run needs 0 MB more; make room"):
        trainer(tmp_path, QUICK).fit()


def test_a_disk_that_fills_up_during_training_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk is full from the second write on; the state from before it stays whole."""
    write, writes = checkpoint.write_whole, []

    def full(path: Path, action: object) -> None:
        writes.append(path)
        if len(writes) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, action)

    monkeypatch.setattr(checkpoint, "write_whole", full)

    def save(path: Path, model: PoseModel, metrics: Mapping[str, float]) -> None:
        full(path, lambda target: remember(Path(target), model, metrics))

    outcome = trainer(tmp_path, QUICK, save=save).fit()
    assert outcome.reason == "finished" and len(writes) > 5
    assert "No space left on device" in caplog.text and "training goes on" in caplog.text
    assert checkpoint.load_state(tmp_path / "weights" / "last.pt")["progress"]["epoch"] == 0


def test_weights_of_every_nth_epoch_are_kept(tmp_path: Path) -> None:
    trainer(tmp_path, replace(QUICK, epochs=4, save_period=2)).fit()
    names = {path.name for path in (tmp_path / "weights").glob("*.safetensors")}
    assert names == {"best.safetensors", "last.safetensors", "epoch1.safetensors", "epoch3.safetensors"}


def test_checkpoints_may_wait_for_the_end(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def look(model: PoseModel) -> Mapping[str, float]:
        seen.append(sorted(path.name for path in (tmp_path / "weights").glob("*.safetensors")))
        return weight_metric(model)

    trainer(tmp_path, replace(QUICK, epochs=3, checkpoints="end"), evaluate=look).fit()
    assert seen == [[], [], []]
    assert [path.name for path in (tmp_path / "weights").glob("*.safetensors")] == ["last.safetensors"]
    assert checkpoint.load_state(tmp_path / "weights" / "last.pt")["progress"]["epoch"] == 3
