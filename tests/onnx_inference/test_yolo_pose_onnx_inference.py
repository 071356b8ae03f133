"""The script that stands alone: the originals' files with their recorded outputs, and ours from their metadata."""

import ast
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from models.build import load
from onnx_inference import yolo_pose_onnx_inference as script
from tests.export import small
from tests.models.original import Original, load_module
from utils.core import images
from utils.core.config import ROOT
from utils.core.geometry import Fit

SOURCE = ROOT / "onnx_inference" / "yolo_pose_onnx_inference.py"


@pytest.fixture(scope="module")
def original(shared) -> Original:
    return Original(shared, "tiny_s6")


@pytest.fixture(scope="module")
def recorded(original: Original) -> np.lib.npyio.NpzFile:
    return np.load(original.folder / "public" / "ckpt" / "tiny_s6_outputs.npz")


@pytest.fixture(scope="module")
def raw_file(original: Original, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The original's raw export with the weights of the checkpoint put back."""
    import onnx

    from utils.core.published import read_published

    refill = load_module(original.folder / "onnx_refill.py").refill
    tensors = read_published(original.folder / "public" / "ckpt" / "tiny_s6_last.pt").tensors()
    skeleton = original.folder / "public" / "onnx" / "tiny_s6_raw_skeleton.onnx"
    model = refill(str(skeleton), {name: value.float().numpy() for name, value in tensors.items()})
    path = tmp_path_factory.mktemp("raw") / "raw.onnx"
    onnx.save(model, path)
    return path


def test_the_originals_file_with_selection_gives_the_recorded_people(original: Original, recorded) -> None:
    model = script.PoseFile(str(original.folder / "public" / "onnx" / "tiny_s6_nms.onnx"))
    assert model.size == (128, 128) and not model.is_raw
    [rows] = model.session.run(None, {"images": original.images(128, 128, 1).numpy()})
    np.testing.assert_allclose(rows, recorded["ort_s6_nms_out0"], atol=2e-2, rtol=1e-4)
    picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    assert len(model(picture).scores) > 0


def test_the_originals_raw_file_gives_the_recorded_maps_and_from_them_the_recorded_people(
    raw_file: Path, original: Original, recorded
) -> None:
    model = script.PoseFile(str(raw_file))
    maps = model.session.run(None, {"images": original.images(128, 128, 1).numpy()})
    for index, values in enumerate(maps):
        np.testing.assert_allclose(values, recorded[f"ort_s6_raw_out{index}"], atol=5e-4, rtol=1e-3)
    rows, expected = model.decoded(maps), recorded["ema_nms_conf0.25_iou0.45"]
    np.testing.assert_allclose(rows, expected, atol=2e-2, rtol=1e-3)


def test_our_export_of_the_same_weights_gives_the_same_detections(original: Original, recorded) -> None:
    from models.layers import fused

    weights = original.folder / "public" / "ckpt" / "tiny_s6_last.pt"
    for select, key in (({"conf": 0.25, "iou": 0.45}, "ema_nms_conf0.25_iou0.45"),
                        ({"conf": 0.01, "iou": 0.45, "max_poses": 1000}, "ort_s6_nms_out0")):  # fmt: skip
        model = fused(load(weights, select=select))
        [rows] = small.run(small.file_of(model, replace(small.EXPORT, layout="rows")), original.images(128, 128, 1))
        expected = recorded[key]
        assert rows.shape == expected.shape
        np.testing.assert_allclose(rows, expected, atol=2e-2, rtol=1e-3)


@pytest.mark.parametrize("how", [Fit(), Fit("down", "corner", smooth=False), Fit("none")])
@pytest.mark.parametrize("size", [(90, 200), (301, 77), (128, 128)])
def test_pictures_are_placed_as_the_metadata_say(how: Fit, size: tuple[int, int]) -> None:
    model = object.__new__(script.PoseFile)
    letterbox = {"rounding": how.rounding, "place": how.place, "smooth": how.smooth, "padding": 114}
    model.facts, model.size = {**script.PUBLISHED, "letterbox": letterbox}, (128, 160)
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    matrix, placed = model.placed(picture)
    expected, way = images.fit(picture, (128, 160), how)
    np.testing.assert_array_equal(placed, expected)
    np.testing.assert_allclose(matrix, way[:2])


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ours") / "ours.onnx"
    path.write_bytes(small.file_of(small.model(4), replace(small.EXPORT, simplify=True)))
    return path


def test_people_come_back_in_the_pixels_of_the_picture(ours: Path) -> None:
    from utils.inference.predictor import OneStage

    picture = np.ascontiguousarray((small.pictures(1)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))
    picture = cv2.resize(picture, (300, 200))
    [expected] = OneStage(small.model(4), size=(128, 128))([picture])
    found = script.PoseFile(str(ours))(picture)
    np.testing.assert_allclose(found.keypoints[..., :2], expected.keypoints, atol=0.1)
    np.testing.assert_allclose(found.boxes, expected.boxes, atol=0.1)


def test_a_picture_with_nobody_in_it_is_an_answer_too() -> None:
    found = script.People.of_rows(np.zeros((5, 6 + 3 * 4), np.float32))
    moved = found.moved(np.eye(3)[:2], (60, 80))
    assert moved.boxes.shape == (0, 4) and moved.keypoints.shape == (0, 4, 3)
    assert script.lines(moved) == ""
    picture = np.zeros((60, 80, 3), np.uint8)
    assert (script.draw(picture, moved, ((0, 1),), least=0.3) == picture).all()


def test_a_list_a_folder_and_a_video_are_read_and_answered_beside_nothing_of_ours(ours: Path, tmp_path: Path) -> None:
    """Run elsewhere, from a copy, with the house out of sight."""
    shutil.copy(SOURCE, tmp_path / "run.py")
    picture = (small.pictures(1)[0].permute(1, 2, 0).numpy() * 255).astype(np.uint8)[..., ::-1]
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.jpg"):
        cv2.imwrite(str(tmp_path / "in" / name), picture)
    (tmp_path / "list.txt").write_text("in/a.png\n\nin\n")
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 5, (128, 128))
    for _ in range(2):
        video.write(np.ascontiguousarray(picture))
    video.release()
    for source, names in (("list.txt", {"a.png", "b.jpg"}), ("v.avi", {"v_000000.jpg", "v_000001.jpg"})):
        command = [
            sys.executable,
            "-I",
            "run.py",
            "--model-path",
            str(ours),
            "--img-path",
            source,
            "--dst-path",
            f"out_{source}",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        out = tmp_path / f"out_{source}"
        assert {path.name for path in out.iterdir()} == names | {f"{name}.txt" for name in names}
        assert (out / f"{min(names)}.txt").read_text().splitlines()[0].count(" ") == 1 + 4 + 3 * 4


@pytest.mark.parametrize("wrong", ["missing.onnx", "damaged.onnx", "picture"])
def test_what_cannot_be_used_is_said_in_one_line(ours: Path, tmp_path: Path, wrong: str) -> None:
    (tmp_path / "damaged.onnx").write_bytes(b"no model")
    model, picture = (str(ours), "nothing.jpg") if wrong == "picture" else (str(tmp_path / wrong), "x.jpg")
    command = [
        sys.executable,
        str(SOURCE),
        "--model-path",
        model,
        "--img-path",
        picture,
        "--dst-path",
        str(tmp_path / "o"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("rows", [np.zeros((5, 18)), np.zeros((0, 18))], ids=["filled up", "none"])
def test_a_picture_without_anybody_is_a_picture_with_nobody_and_no_error(rows: np.ndarray) -> None:
    people = script.People.of_rows(rows).moved(np.eye(3)[:2], (60, 80))
    assert people.keypoints.shape == (0, 4, 3) and script.lines(people) == ""
    picture = np.full((60, 80, 3), 7, np.uint8)
    assert (script.draw(picture, people, [(0, 1)], least=0.3) == picture).all()


def test_it_imports_three_libraries_and_nothing_of_ours() -> None:
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text())):
        found |= {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        found |= {str(node.module)} if isinstance(node, ast.ImportFrom) else set()
    outside = {name.split(".")[0] for name in found} - set(sys.stdlib_module_names)
    assert outside == {"numpy", "cv2", "onnxruntime"} and onnxruntime.__version__
