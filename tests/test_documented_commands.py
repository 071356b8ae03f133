"""Every command in README.md and docs/*.md is typed, in a copy of the repository with small stand-ins.

What makes a command small comes after its own flags, where the last one wins. In the default suite its flags are read.
"""

import hashlib
import json
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.build import load, save
from tests.commands import doors, pages, readmes, srun
from tests.commands.clone import Clone, copied, draw_data, put_video, put_weights
from tests.core.server import Server
from utils.core import images
from utils.core.config import ROOT, read_yaml, write_yaml
from utils.core.schema import KeypointSchema

TRAIN = "--img 64 --batch-size 8 --epochs 1 --workers 0 --device cpu"
SMALL = {
    "train.py": TRAIN,
    "val.py": "--workers 0 --device cpu",
    "detect.py": "--device cpu",
    "export.py": "--img 64 --device cpu",
    "utils.data.people": "--count 6 --size 96",
}
# The smallest network of a family takes the place of one that a page names; tests/test_seed_commands.py has the large.
SMALLEST = {
    "yolov5": "yolov5n6_kpts.yaml", "kapao": "kapao_n.yaml", "yolox": "yolox_pose_nano.yaml",
    "hrnet": "hrnet_w8_128x96.yaml", "simdr": "simdr_w8_128x96.yaml", "rle": "rle_w8_128x96.yaml",
    "udp": "udp_w8_128x96.yaml",
}  # fmt: skip
ADDED = {
    "python train.py --resume": "--epochs 2",
    "--evolve 100": "--evolve 1",
    "--int8": "--calibrate 2",
    "--source 0": "--source a.jpg",  # who knows whether there is a camera
}
# Two machines are needed, where tests/training/two_ranks.py has two processes; and tests run by themselves.
NOT_HERE = ("torchrun --nnodes 2", "python -m pytest")
TABLES = {  # page -> the programs of the original whose commands it maps
    "docs/yolox_pose.md": (
        "demo/inferencer_demo.py", "tools/dist_train.sh", "tools/slurm_train.sh", "tools/test.py", "tools/dist_test.sh",
        "tools/slurm_test.sh",
    ),
    "docs/top_down.md": ("infer.py",),
}  # fmt: skip
WORDS = {  # what stands for a name of the user's
    "DATA": "my_data.yaml",
    "CONFIG": "yolox_pose_nano.yaml", "CKPT": "best.safetensors", "CHECKPOINT": "best.safetensors",
    "WORKDIR": "runs/work", "INPUT": "a.jpg", "TEST_SOURCE": "a.jpg", "DET_MODEL_PATH": "detector.pt",
    "POSE_MODEL_PATH": "poser.safetensors",
}  # fmt: skip


def typed() -> list[pages.Command]:
    """Those of the code blocks, and the right sides of the tables."""
    found = [command for command in pages.typed() if not command.typed.startswith(NOT_HERE)]
    for page in TABLES:
        for _, ours in pages.mapped(page):
            found += [pages.Command(page, code) for code in ours if code.startswith(pages.PROGRAMS)]
    return list(dict.fromkeys(found))


def name_of(command: pages.Command) -> str:
    return f"{command.page}: {command.typed}"


def small(line: str) -> str:
    """The line as it is typed here."""
    line = " ".join(WORDS.get(word, word) for word in line.split(" "))
    line = re.sub(r"--nproc_per_node \d+", "--nproc_per_node 2", line)
    more = [SMALL.get(doors.program(line), "")] + [flags for words, flags in ADDED.items() if words in line]
    named = re.search(r"--cfg (\w+?)(?=[_\d])\S*", line)
    if named and named[1] in SMALLEST:
        more.append(f"--cfg {SMALLEST[named[1]]}")
    if named and named[1] in ("hrnet", "simdr", "rle", "udp"):  # they have the size of their YAML
        more[0] = more[0].replace("--img 64 ", "")
    return " ".join([line, *filter(None, more)])


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = copied(tmp_path_factory.mktemp("documented") / "limber")
    folder = made.folder
    draw_data(folder)
    people = read_yaml(ROOT / "data" / "coco_kpts.yaml")
    coco = {**people, "path": str(folder / "datasets" / "coco")}
    for name in ("my_data.yaml", "photographs.yaml"):
        write_yaml(folder / name, {key: value for key, value in coco.items() if key not in ("fetch", "test")})
    horse = folder.parent / "datasets" / "horse"
    shutil.copytree(folder / "datasets" / "coco", horse)
    for name in ("image_info_test-dev2017.json", "detections.json"):
        (horse / "annotations" / name).unlink()
    values = json.loads((horse / "annotations" / "person_keypoints_val2017.json").read_text())
    for one in values["images"]:
        one["file_name"] = f"datasets/coco/val2017/{one['file_name']}"
    for one in values["annotations"]:
        del one["bbox"]
    (folder / "boxless.json").write_text(json.dumps(values))
    cards = folder / "datasets" / "cards"
    what = "python -m utils.data.people --figure corners --splits --count 6 --size 96"
    assert made.type(f"{what} --out {cards}").status == 0
    write_yaml(folder / "cards.yaml", {**read_yaml(ROOT / "data" / "people_corners.yaml"), "path": str(cards)})
    put_weights(folder, "kapao_s_coco.pt", "kapao")
    for name in ("yolov5s6.pt", "person.pt", "detector.pt", "crowdhuman_yolov5m.pt"):
        put_weights(folder, name, "detector")
    put_video(folder / "film.mp4", 6)
    picture = images.read(ROOT / "data" / "example.jpg")
    for name in ("holiday", "pictures"):
        (folder / name).mkdir()
    for name in ("a.jpg", "picture.jpg", "holiday/b.jpg", "pictures/c.jpg"):
        images.write(folder / name, picture)
    srun_here = folder / "srun"
    srun_here.write_text(f"#!{sys.executable}\n" + Path(srun.__file__).read_text())
    srun_here.chmod(srun_here.stat().st_mode | stat.S_IXUSR)
    yield made
    shutil.rmtree(folder.parent)


def prepare(clone: Clone, command: pages.Command) -> None:
    """What a line of this page finds from the lines before it."""
    torch.manual_seed(0)
    kind = "yolov5n6_kpts.yaml"
    if "--include ti" in command.typed:
        kind = "yolov5n6_kpts_ti_lite.yaml"
    elif command.page == "docs/top_down.md":
        kind = "hrnet_w8_128x96.yaml"
    elif command.page == "docs/yolox_pose.md":
        kind = "yolox_pose_nano.yaml"
    save(clone.folder / "best.safetensors", load(kind), made={})
    save(clone.folder / "poser.safetensors", load("hrnet_w8_128x96.yaml"), made={})
    if (
        "runs/train/exp/weights/best.safetensors" in command.typed
    ):  # of the cards in docs/migration.md, or of single people
        cards = {"schema": KeypointSchema.read("people_corners.yaml"), "classes": ("card",)}
        trained = load(kind, **({} if command.page == "docs/top_down.md" else cards))
        save(clone.folder / "runs/train/exp/weights/best.safetensors", trained, made={})
    shutil.copy(clone.folder / "best.safetensors", clone.folder / "lite.safetensors")
    shutil.copy(clone.folder / "datasets/coco/annotations/detections.json", clone.folder / "detections.json")
    if doors.program(command.typed) != "utils.data.people" and "people" in command.typed:
        assert clone.type("python -m utils.data.people --splits --count 6 --size 96").status == 0
    if "boxes_val.json" in command.typed:
        weights = f"--weights {ROOT / 'weights' / 'yolov5n6_kpts_people.safetensors'}"
        assert clone.type(f"python val.py {weights} --data people.yaml --save-json {SMALL['val.py']}").status == 0
    if "--data datasets/easy" in command.typed:
        assert clone.type("python -m utils.data.people --splits --count 6 --size 96 --out datasets/easy").status == 0
    if "--resume" in command.typed:
        assert clone.type(f"python train.py --cfg {kind} {TRAIN}").status == 0
    if "best.onnx" in command.typed:
        assert clone.type(f"python export.py --weights best.safetensors {SMALL['export.py']}").status == 0


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Where addresses lead to in these tests."""
    made = Server(b"")
    yield made
    made.close()


def addressed(line: str, clone: Clone, server: Server) -> tuple[str, dict[str, str]]:
    """The line with the address of weights that this machine serves, and the environment for it."""
    server.data = (clone.folder / "best.safetensors").read_bytes()
    server.cut = len(server.data)
    address = f"{server.home}/best.safetensors"
    line = line.replace("#sha256=DIGITS", f"#sha256={hashlib.sha256(server.data).hexdigest()}")
    place = {"HF_ENDPOINT": server.home, "LIMBER_CACHE": str(clone.folder / "runs" / "cache")}
    return line.replace("ADDRESS", address), place


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell reads the lines here")
@pytest.mark.parametrize("command", typed(), ids=name_of)
def test_a_documented_command_works_as_it_is_typed(clone: Clone, server: Server, command: pages.Command) -> None:
    shutil.rmtree(clone.folder / "runs", ignore_errors=True)
    prepare(clone, command)
    line, place = addressed(small(command.typed), clone, server)
    ended = clone.type(line, **place)
    assert ended.status == 0, ended.text
    assert "Traceback" not in ended.text and "Error" not in ended.text


@pytest.mark.parametrize("command", typed(), ids=name_of)
def test_the_flags_of_a_documented_command_are_read(command: pages.Command, monkeypatch: pytest.MonkeyPatch) -> None:
    doors.read(small(command.typed), monkeypatch)


BEFORE = {  # what the code of a page takes for granted
    "detect.md": "\n".join((
        "from utils.core import images", "from utils.inference.predictor import Predictor",
        "predictor, image = Predictor('best.safetensors', conf=0.0, max_poses=3, size=(64, 64)), images.read('a.jpg')",
        "[poses], schema = predictor(image), predictor.model.spec.schema\n",
    )),
    "tracking.md": "from utils.core import images\nframes = [images.read('a.jpg')] * 3\n",
}  # fmt: skip
CODE = [(page, text) for page in pages.pages() for language, text in pages.blocks(page) if language == "python"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text"),
    [each for each in CODE if each[0].name not in ("README.md", "export.md")],  # they have tests of their own
    ids=lambda each: getattr(each, "name", None),
)
def test_documented_code_runs_as_it_stands(clone: Clone, page: Path, text: str) -> None:
    save(clone.folder / "best.safetensors", load("yolov5n6_kpts.yaml"), made={})
    torch.save(load("hrnet_w8_128x96.yaml").state_dict(), clone.folder / "posehrnet_w32_256x192.pth")
    for name in ("b.jpg", "a.jpg"):
        shutil.copy(ROOT / "data" / "example.jpg", clone.folder / name)
    shutil.copy(clone.folder / "datasets/coco/annotations/detections.json", clone.folder / "boxes.json")
    (clone.folder / "pasted.py").write_text(BEFORE.get(page.name, "") + text)
    ended = clone.type("python pasted.py")
    assert ended.status == 0, ended.text


@pytest.mark.parametrize("page", TABLES)
def test_every_command_of_the_original_has_its_row(page: str, shared: object) -> None:
    rows = dict(pages.mapped(page))
    for name in TABLES[page]:
        here = [ours for left, ours in rows.items() if name in left]
        assert here and all(here), f"{page}: no command of ours beside {name}"


def test_the_tables_name_every_program_of_the_two_readmes(shared: object) -> None:
    programs = [name for names in TABLES.values() for name in names]
    for name in ("yolox_pose", "topdown"):
        for command in readmes.commands(name):
            assert command.startswith(("git ", "export ")) or any(known in command for known in programs), command
