"""From the flags of train.py to the parts of a run: each flag reaches the part that it is meant for."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import train as door
from doors import training
from utils.core.config import find, read_yaml, to_yaml
from utils.core.tta import View
from utils.data.drawing.files import write_split
from utils.data.image_cache import DiskCache, MemoryCache
from utils.data.people import SceneSettings, draw
from utils.training.log import RunLog

CFG = "yolov5n6_kpts.yaml"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of drawn people."""
    folder = tmp_path_factory.mktemp("drawn")
    scenes = (draw(7, number, SceneSettings((128, 128), "person", "easy")) for number in range(3))
    write_split(folder, split="train", scenes=scenes, figure="person")
    split = {"images": "train", "annotations": "train.json"}
    own = {key: value for key, value in read_yaml(find("people.yaml")).items() if key not in ("path", "fetch")}
    (folder / "drawn.yaml").write_text(to_yaml(own | {"train": split, "val": split}))
    return folder / "drawn.yaml"


@pytest.fixture
def parts(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What train.py would put together for some flags, without training."""

    def of(*words: object) -> training.Parts:
        common = ("--data", data, "--cfg", CFG, "--img", 64, "--workers", 0, "--device", "cpu")
        monkeypatch.chdir(tmp_path)  # a cache on the disk lies where the command was typed
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, (*common, *words))])
        args = door.parse()
        return training.Parts(args, training.recipe_of(args))

    return of


def test_flags_that_overrule_the_recipe_become_settings(parts: Any) -> None:
    words = (
        "--epochs 7 --batch-size 3 --adam --linear-lr --multi-scale --label-smoothing 0.1 --freeze 2 --patience 4 "
        "--precision bf16 --seed 5 --notest --nosave --save-period 2 --compile --sync-bn"
    )
    made = parts(*words.split())
    fit = made.fit
    assert (fit.epochs, fit.batch_size, fit.optimizer, fit.schedule) == (7, 3, "Adam", "linear")
    assert (fit.multi_scale, fit.freeze, fit.patience, fit.precision, fit.seed) == ((0.5, 1.5), 2, 4, "bf16", 5)
    assert (fit.evaluate_every, fit.checkpoints, fit.save_period, fit.compile, fit.sync_bn) == (0, "end", 2, True, True)
    assert made.model.gains.label_smoothing == 0.1
    assert parts("--half").fit.precision == "fp16"
    plain = parts("--cos-lr", "--optimizer", "SGD").fit
    assert (plain.schedule, plain.optimizer, plain.multi_scale, plain.evaluate_every) == ("cosine", "SGD", None, 1)


@pytest.mark.parametrize(("words", "kind"), [(["--cache"], MemoryCache), (["--cache", "disk"], DiskCache)])
def test_the_cache_holds_images_for_training_and_for_evaluation(parts: Any, words: list[str], kind: type) -> None:
    made = parts(*words)
    loader = training.training_loader(made.records, made.model.spec, made.augment, made.loading)
    assert isinstance(loader.samples.source.cache, kind)
    assert isinstance(made.evaluator.batches.samples.source.cache, kind)
    assert parts().evaluator.batches.samples.source.cache is None


def test_image_weights_reach_the_loader(parts: Any, tmp_path: Path) -> None:
    weighed, plain = (
        parts(*words).trainer(RunLog(tmp_path / name)).loader.weights
        for name, words in (("weighed", ["--image-weights"]), ("plain", []))
    )
    assert plain is None and len(weighed) == 3 and weighed.min() >= 0


def test_anchors_are_fitted_to_the_data_unless_that_is_not_wanted(parts: Any, tmp_path: Path) -> None:
    (tmp_path / "strict.yaml").write_text("anchor_t: 1.2\n")  # hardly anybody is so much like an anchor
    published = torch.tensor(read_yaml(find(CFG))["head"]["anchors"])
    strict = ("--hyp", tmp_path / "strict.yaml")
    assert torch.tensor(parts(*strict, "--noautoanchor").model.spec.head["anchors"]).equal(published)
    assert not torch.tensor(parts(*strict).model.spec.head["anchors"]).equal(published)


def test_validation_looks_through_the_wanted_views(parts: Any) -> None:
    assert parts("--val-scales", 0.5, 1, "--val-flips", 3, -1).views == (View(0.5, "horizontal"), View(1.0, None))
    assert parts().views == (View(1.0, None),)


def test_batch_statistics_of_several_gpus_need_several_gpus(parts: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sync_bn: shared batch statistics need several GPUs"):
        parts("--sync-bn").trainer(RunLog(tmp_path))
