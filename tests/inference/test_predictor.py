"""From images to people in the pixels of those images."""

from pathlib import Path

import numpy as np
import pytest
import torch

from models import families
from tests.test_contract import Case, briefly_trained, spec_of
from utils.core import images as pixels
from utils.core.contract import PoseModel
from utils.core.geometry import chain, move_points, scaling, translation
from utils.core.tta import View
from utils.inference.predictor import OneStage, Predictor


@pytest.fixture(scope="module")
def model() -> PoseModel:
    torch.manual_seed(0)
    case = Case(5)
    return briefly_trained(families.find("yolo_pose")(spec_of("yolo_pose", case)), case)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    return pixels.resize(coarse, (height, width))


def test_a_path_an_array_and_a_list_of_both_give_the_same_people(model: PoseModel, tmp_path: Path) -> None:
    image = picture(100, 80)
    path = tmp_path / "ein Bild mit Ümläuten.png"
    pixels.write(path, image)
    predict = Predictor(model)
    [from_path], [from_array], both = predict(str(path)), predict(image), predict([path, image])
    assert len(both) == 2
    np.testing.assert_array_equal(from_array.keypoints, from_path.keypoints)
    for poses in both:  # two at a time are computed in another order than one
        np.testing.assert_allclose(poses.keypoints, from_path.keypoints, atol=0.05)
        np.testing.assert_allclose(poses.scores, from_path.scores, atol=1e-4)
    assert isinstance(from_path.boxes, np.ndarray) and from_path.keypoints.shape[1:] == (5, 2)


def test_a_file_name_is_all_that_is_needed(tmp_path: Path) -> None:
    predict = Predictor("yolov5n6_kpts.yaml", conf=0.0, size=(128, 128))
    [poses] = predict(picture(90, 120))
    assert 0 < len(poses) <= 300 and poses.boxes.min() >= 0
    assert poses.boxes[:, 2].max() <= 120 and poses.boxes[:, 3].max() <= 90


def test_people_come_back_in_the_pixels_of_the_original_whatever_its_size(model: PoseModel) -> None:
    """The letterboxed picture handed in as it is gives the same people, up to the letterbox's own matrix."""
    predict = Predictor(model)
    image = picture(200, 300)
    fitted, matrix = pixels.fit(image, (128, 128))
    [original], [inner] = predict(image), predict(fitted)
    assert len(original) == len(inner) > 0
    np.testing.assert_allclose(move_points(original.keypoints, matrix), inner.keypoints, atol=2e-3)
    assert np.allclose(matrix, chain(scaling(128 / 300, 85 / 200), translation(0, 21)))


def test_more_images_than_a_batch_keep_their_order(model: PoseModel) -> None:
    pictures = [picture(64 + 8 * i, 96, seed=i) for i in range(5)]
    together = OneStage(model, batch_size=2)(pictures)
    one_by_one = [OneStage(model)(image)[0] for image in pictures]
    for joined, alone in zip(together, one_by_one, strict=True):
        np.testing.assert_allclose(joined.boxes, alone.boxes, atol=0.05)


def test_no_image_gives_no_result_and_no_error(model: PoseModel) -> None:
    assert Predictor(model)([]) == []


def test_a_grey_and_a_transparent_picture_are_seen_in_colour(model: PoseModel) -> None:
    grey = picture(64, 64)[..., 0]
    colour = np.repeat(grey[..., None], 3, 2)
    clear = np.concatenate((colour, np.full((64, 64, 1), 255, np.uint8)), -1)
    results = Predictor(model)([grey, colour, clear])
    assert all(np.array_equal(poses.scores, results[1].scores) for poses in results)


def test_one_identity_view_equals_none_and_two_views_pool_their_people(model: PoseModel) -> None:
    image = picture(128, 128)
    [plain], [identity] = Predictor(model)(image), Predictor(model, views=[View(1.0)])(image)
    np.testing.assert_array_equal(plain.keypoints, identity.keypoints)
    [pooled] = Predictor(model, views=[View(), View(1.0, "horizontal")])(image)
    assert pooled.scores[0] >= plain.scores[0]


def test_what_cannot_be_an_image_is_told_by_name(model: PoseModel, tmp_path: Path) -> None:
    predict = Predictor(model)
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a jpeg")
    with pytest.raises(ValueError, match=r"broken\.jpg: not an image"):
        predict([picture(64, 64), broken])
    with pytest.raises(ValueError, match=r"missing\.jpg: cannot be read: No such file"):
        predict(tmp_path / "missing.jpg")
    with pytest.raises(ValueError, match=r"image 1: found float32 \(64, 64, 3\); expected an RGB array"):
        predict([picture(64, 64), np.zeros((64, 64, 3), np.float32)])


def test_wrong_settings_are_told(model: PoseModel) -> None:
    with pytest.raises(ValueError, match=r"input size \(100, 128\): both sides must be multiples of 64"):
        Predictor(model, size=(100, 128))
    with pytest.raises(ValueError, match="half precision needs a GPU"):
        Predictor(model, device="cpu", half=True)
    with pytest.raises(ValueError, match="no key 'confidence'"):
        Predictor("yolov5n6_kpts.yaml", confidence=0.3)
    with pytest.raises(ValueError, match="thresholds of a built model are in its spec"):
        Predictor(model, conf=0.3)
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match=r"--device 3: there is no GPU 3, .*; try --device cpu"):
            Predictor(model, device="3")


def test_the_published_checkpoint_predicts_from_its_file_name(shared: Path) -> None:
    """The recorded people of the original, asked for through the front door."""
    folder = shared / "fixtures" / "yolo_pose"
    from tests.models.original import load_module

    image = load_module(folder / "recipe.py").image(128, 128)  # (3, 128, 128) in 0..1
    exact = torch.from_numpy(image)[None]
    predict = Predictor(folder / "public" / "ckpt" / "tiny_s6_last.pt", size=(128, 128), conf=0.25, iou=0.45)
    recorded = np.load(folder / "public" / "ckpt" / "tiny_s6_outputs.npz")["ema_nms_conf0.25_iou0.45"]
    with torch.inference_mode():
        [poses] = predict.model.select(predict.model.decode([predict.model(exact)], [View()]))
    np.testing.assert_allclose(poses.keypoints.numpy(), recorded[:, 6:].reshape(-1, 17, 3)[..., :2], atol=2e-2)
    [rounded] = predict(np.round(image.transpose(1, 2, 0) * 255).astype(np.uint8))  # a real picture has whole levels
    assert abs(len(rounded) - len(recorded)) <= 3
