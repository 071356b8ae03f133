"""4, hostile inputs: 500 fuzzed pictures and labels, and some odd on purpose, through train, val and detect."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.data.test_headers import exif, jpeg_with
from tests.reliability.makers import EXAMPLE_WEIGHTS, SMALL, run
from utils.data.annotations import DataSpec
from utils.data.image_sources import Files
from utils.data.people import SceneSettings, draw
from utils.inference.media.files import picture
from utils.inference.media.frames import Faults

JPEGS, PNGS, LABELS = 200, 130, 170
KEYS = "path: {path}\ntrain: images/all\nval: images/all\nnames: [person]\nkpt_shape: [17, 3]\n"


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, bytes exchanged, pieces cut out, doubled, zeroed or put elsewhere, the end missing."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        place, length = int(rng.integers(len(found))), int(rng.integers(1, 40))
        piece = bytes(found[place : place + length])
        kind = int(rng.integers(7))
        if kind == 0:
            found[place] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            found[place : place + length] = rng.integers(0, 256, len(piece), np.uint8).tobytes()
        elif kind == 2:
            del found[place : place + length]
        elif kind == 3:
            found[place:place] = piece
        elif kind == 4:
            found[place : place + length] = bytes(len(piece))
        elif kind == 5:
            found[place:place] = bytes(found[-length:])
        else:
            del found[max(place, 4) :]
        if len(found) < 8:
            break
    return bytes(found)


def odd_files(folder: Path, whole: bytes) -> int:
    """What lies in folders of people who are in a hurry; returns how many."""
    grey = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)

    def encoded(ending: str, image: np.ndarray) -> bytes:
        return cv2.imencode(ending, image)[1].tobytes()

    png = encoded(".png", grey)
    files = {
        "empty.jpg": b"", "html.jpg": b"<html>404</html>", "zeros.png": bytes(5000), "noise.jpg": bytes(range(256)) * 9,
        "huge.png": png[:16] + (60_000).to_bytes(4, "big") * 2 + png[24:],
        "no_size.png": png[:16] + bytes(8) + png[24:], "marker.jpg": b"\xff\xd8",
        "gif.jpg": b"GIF89a", "png_inside.jpg": png, "jpeg_inside.png": whole,
        "tail.jpg": whole + b"more", "twice.jpg": whole * 2, "deep.png": encoded(".png", grey.astype(np.uint16) * 255),
        "alpha.png": encoded(".png", np.dstack([grey] * 4)), "dot.png": encoded(".png", grey[:1, :1]),
        "line.png": encoded(".png", grey[:1]), "exif.jpg": jpeg_with(exif(6, "II")[:15]),
        "im age \u00fc \U0001f642.jpg": whole, "grey.bmp": encoded(".bmp", grey),
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.jpg").mkdir()
    (folder / "nowhere.jpg").symlink_to(folder / "not there.jpg")
    return len(files)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of which hardly anything is in order, as txt labels beside pictures."""
    root = tmp_path_factory.mktemp("fuzzed")
    pictures, labels = root / "images" / "all", root / "labels" / "all"
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    (root / "data.yaml").write_text(KEYS.format(path=root))
    rng = np.random.default_rng(4)
    scene = draw(0, 0, SceneSettings((64, 64), "person", "easy"))
    encoded = {ending: cv2.imencode(ending, scene.image[..., ::-1])[1].tobytes() for ending in (".jpg", ".png")}
    row = " ".join(["0 0.5 0.5 0.6 0.9", *(f"{x / 64:.4f} {y / 64:.4f} 2" for x, y in scene.keypoints[0])])
    for number in range(JPEGS + PNGS + LABELS):
        ending = ".jpg" if number < JPEGS else ".png"
        broken = number < JPEGS + PNGS
        data = mutated(encoded[ending], rng) if broken else encoded[ending] + number.to_bytes(2, "big")
        (pictures / f"{number}{ending}").write_bytes(data)
        text = f"{row}\n{row.replace('0.5 0.5', '0.4 0.5')}\n".encode()
        (labels / f"{number}.txt").write_bytes(text if broken else mutated(text, rng))
    odd_files(pictures, encoded[".jpg"])
    return root


def told(status: int, out: str, log: str) -> str:
    assert status == 0, log[-2000:]
    assert "Traceback" not in log and "Segmentation" not in log
    return out + log


@pytest.mark.slow
def test_detect_goes_through_all_of_them_and_counts_what_it_left_out(fuzzed: Path, tmp_path: Path) -> None:
    pictures = fuzzed / "images" / "all"
    flags = (
        "--source",
        pictures,
        "--weights",
        EXAMPLE_WEIGHTS,
        *SMALL,
        "--nosave",
        "--save-csv",
        "--project",
        tmp_path,
    )
    words = told(*run(*flags, door="detect.py"))
    files = [path for path in pictures.iterdir() if not path.is_dir()]
    summary = json.loads((tmp_path / "exp" / "summary.json").read_text())
    skipped = summary["skipped"]["files"]
    assert summary["frames"] + skipped == len(files)
    assert len(summary["skipped"]["reasons"]) == skipped == words.count("skipped: ") - 1
    assert f"skipped: {skipped} files" in words and f"on {summary['frames']} frames" in words
    named = {reason.partition(".jpg: ")[0].partition(".png: ")[0] for reason in summary["skipped"]["reasons"]}
    assert len(named) == skipped
    status, _, _ = run(*flags, "--strict", door="detect.py")
    assert status == 1
    print(f"detect: {len(files)} files, 0 crashes, {summary['frames']} looked at, {skipped} skipped and named")


@pytest.mark.slow
def test_val_and_train_go_through_all_of_them_and_count_what_they_left_out(fuzzed: Path, tmp_path: Path) -> None:
    data = ("--data", fuzzed / "data.yaml", *SMALL, "--workers", 0, "--project", tmp_path)
    seen = told(*run(*data, "--weights", EXAMPLE_WEIGHTS, "--no-plots", door="val.py"))
    learned = told(*run(*data, "--weights", EXAMPLE_WEIGHTS, "--epochs", 1, "--noval", "--hyp", "hyp.tune.yaml",
                        "--noautoanchor", door="train.py"))  # fmt: skip
    for door, words in (("val", seen), ("train", learned)):
        [read] = set(re.findall(rf"{door}: (\d+) images \(", words))
        [(problems, kinds)] = set(
            re.findall(rf"{door}: (\d+) problems \((.*?)\); the first is .*\d+\.(?:txt|png|jpg)", words)
        )
        [unseen] = set(re.findall(r"ground truth: (\d+) of \d+ images were not looked at", words))
        assert int(problems) > 100
        print(f"{door}: 0 crashes, {read} images read, {problems} problems ({kinds}), {unseen} cannot be decoded")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_the_same_picture_in_train_val_and_detect(tmp_path: Path, orientation: int) -> None:
    """Labels are those of the upright picture, as every tool that draws them shows it."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    path = tmp_path / "images" / "a.jpg"
    coarse = np.random.default_rng(1).integers(0, 255, (6, 8, 3), np.uint8)
    data = cv2.imencode(".jpg", cv2.resize(coarse, (160, 96)))[1].tobytes()
    path.write_bytes(data[:2] + exif_segment(orientation) + data[2:])
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.4 0.5 0.4 2 0 0 0 0.6 0.5 1\n")
    keys = "train: images\nval: images\nnames: [person]\nkpt_shape: [3, 3]\nkpt_names: [left_hand, right_hand, head]\n"
    (tmp_path / "data.yaml").write_text(keys)
    [frame] = picture(path, Faults())
    for split in ("train", "val"):
        records = DataSpec.read(tmp_path).records(split)
        assert records.size(0) == frame.image.shape[:2] == ((160, 96) if orientation > 4 else (96, 160))
        full, _ = Files(records).image(0, 1.0)
        assert np.array_equal(full, frame.image)
        small, matrix = Files(records).image(0, 0.5)  # decoded at half: the same picture, turned the same way
        again = cv2.resize(frame.image, small.shape[1::-1], interpolation=cv2.INTER_AREA)
        assert np.abs(again.astype(int) - small).mean() < 6, matrix


def exif_segment(orientation: int) -> bytes:
    block = b"Exif\0\0" + exif(orientation, "II")
    return b"\xff\xe1" + (len(block) + 2).to_bytes(2, "big") + block
