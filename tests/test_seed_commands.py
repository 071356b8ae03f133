"""Every command of the originals' READMEs, typed as it stands there, in a copy of the repository with small stand-ins.

The text of a line is the README's. What makes it small is said beside it and comes after it, where the last flag wins;
data, weights and videos of small size lie under the published names. Commands that have another form here are in the
tables of docs/yolox_pose.md and docs/top_down.md: tests/test_tables.py types those.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.commands import doors, readmes
from tests.commands.clone import Clone, copied, draw_data, put_video, put_weights

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell reads the lines here")

TRAIN = "--img 64 --batch-size 8 --epochs 1 --workers 0 --device cpu"
VAL = "--img 64 --workers 0 --device cpu --no-plots"
DEMO = "--imgsz 128 --device cpu --conf-thres 0.05 --max-det 3"
RUN = ("weights/best.safetensors", "weights/last.safetensors", "report.html", "results.csv")
NUMBERS = ("AP50", "4 images, ", "ms per image")


@dataclass(frozen=True)
class Line:
    typed: str
    added: str = ""  # after the README's own flags
    leaves: tuple[str, ...] = ()  # files, new or written again
    says: tuple[str, ...] = ()
    status: int = 0
    quick: bool = False  # one of each kind is typed in the default suite, all of them in make test-all


def trained(typed: str, *, into: str = "runs/train/exp", says: tuple[str, ...] = (), quick: bool = False) -> Line:
    says = ("finished after 1 epoch;", "weights taken", *says)
    return Line(typed, TRAIN, tuple(f"{into}/{name}" for name in RUN), says, quick=quick)


def validated(flags: str, *, quick: bool = False) -> Line:
    if "--task test" in flags:
        return Line(f"python val.py {flags}", VAL, ("runs/val/exp/poses_test.json",), ("results in",))
    return Line(f"python val.py {flags}", VAL, ("runs/val/exp/metrics.json",), NUMBERS, quick=quick)


def demo(typed: str, leaves: str = "", says: tuple[str, ...] = ("people",), quick: bool = False) -> Line:
    return Line(typed, DEMO, (leaves,) if leaves else (), says, quick=quick)


# ------------------------------------------------------------------------------------------------ YOLO-Pose

POSE = "python train.py --data coco_kpts.yaml --cfg {} --weights 'path to the pre-trained ckpts' --batch-size 64 --img"
LITE = "--kpt-label --hyp hyp.scratch_lite.yaml"
NO_LABEL = ("--kpt-label is no longer needed",)
TEST = 'python test.py --data coco_kpts.yaml --img {} --conf 0.001 --iou 0.65 --weights "path to the pre-trained ckpt"'
DETECT = 'python detect.py --device 3 --weights "path to the pre-trained ckpt" --img-size 960 --kpt-label'
EXPORT = 'python export.py --weights "path to the pre-trained ckpt"  --img 640 --batch 1 --simplify --export-nms'
ONNX = (
    "cd onnx_inference\npython yolo_pose_onnx_inference.py "
    '--model-path "path_to_onnx_model"  --img-path "sample_ips.txt" --dst-path "sample_ops_onnxrt"'
)

YOLO_POSE = (
    trained(f"{POSE.format('yolov5s6_kpts.yaml')} 960 --kpt-label", says=NO_LABEL),
    trained(f"{POSE.format('yolov5m6_kpts.yaml')} 960 --kpt-label", says=NO_LABEL),
    trained(f"{POSE.format('yolov5l6_kpts.yaml')} 960 --kpt-label", says=NO_LABEL),
    trained(f"{POSE.format('yolov5s6_kpts.yaml')} 640 --kpt-label", says=NO_LABEL),
    trained(f"{POSE.format('yolov5s6_kpts_ti_lite.yaml')} 960 {LITE}", says=NO_LABEL),
    trained(f"{POSE.format('yolov5m6_kpts_ti_lite.yaml')} 960 {LITE}", says=NO_LABEL),
    trained(f"{POSE.format('yolov5l6_kpts_ti_lite.yaml')} 960 {LITE}", says=NO_LABEL),
    trained(f"{POSE.format('yolov5s6_kpts_ti_lite.yaml')} 640 {LITE}", says=NO_LABEL),
    Line(f"{TEST.format(960)} --kpt-label", VAL, ("runs/val/exp/metrics.json",), NUMBERS),
    Line(f"{TEST.format(640)} --kpt-label", VAL, ("runs/val/exp/metrics.json",), NUMBERS),
    Line(DETECT, "", (), ("there is no GPU 3", "try --device cpu"), status=2),
    Line(DETECT, "--device cpu --img 128", ("runs/detect/exp/example.jpg",), (*NO_LABEL, "on 1 frame")),
    Line(EXPORT, "--img 128", ("path to the pre-trained ckpt.onnx",), ("path to the pre-trained ckpt.onnx",)),
    Line(ONNX, "", ("onnx_inference/sample_ops_onnxrt/people.jpg",), ("people.jpg",)),
)

# ------------------------------------------------------------------------------------------------ KAPAO and XPOSE

TTA = "--scales 0.8 1 1.2 --flips -1 3 -1"
KAPAO = (
    "--img 1280 --batch {batch} --epochs {epochs} --data data/{data} --hyp data/hyps/hyp.kp-p6.yaml --val-scales 1 "
    "--val-flips -1 --weights yolov5{size}6.pt --project runs/{project} --name train --workers 128"
)
ALONE, TOGETHER = "python train.py", "python -m torch.distributed.launch --nproc_per_node 4 train.py"


def taught(size: str, batch: int, *, crowds: bool = False, data: str = "", start: str = ALONE) -> Line:
    project = f"{'cp_' if crowds else ''}{size}_e{300 if crowds else 500}"
    data = data or ("crowdpose.yaml" if crowds else "coco-kp.yaml")
    flags = KAPAO.format(batch=batch, epochs=300 if crowds else 500, data=data, size=size, project=project)
    said = ("a detector; a new kapao model takes its layers",)
    line = f"{start} {flags}{' --noval' if crowds else ''}"
    return trained(line, into=f"runs/{project}/train", says=said, quick=size == "s" and start == ALONE)


TRAINED = (
    taught("s", 128, start=TOGETHER),
    taught("m", 72),
    taught("l", 48),
    taught("s", 128, crowds=True, start=TOGETHER),
    taught("m", 72, crowds=True),
    taught("m", 72, crowds=True, data="coco-kp.yaml"),  # as K-PAO's README has it
    taught("l", 48, crowds=True),
)
JUDGED = (
    validated("--rect", quick=True),
    validated(TTA),
    validated(f"{TTA} --task test"),
    *(
        validated(flags)
        for name in ("kpao_m", "kpao_l", "xpose_p", "xpose_m")
        for flags in (
            f"--rect --weights {name}_coco.pt",
            f"--weights {name}_coco.pt {TTA}",
            f"--weights {name}_coco.pt {TTA} --task test",
        )
    ),
    *(
        validated(f"--data crowdpose.yaml --weights {name}_crowdpose.pt {TTA}")
        for name in ("kpao_s", "kpao_m", "kpao_l", "xpose_l", "xpose_p", "xpose_m")
    ),
)
NO_DISPLAY = ("--display: there is no display here", "people")
FLASH_MOB = "python demos/video.py --yt-id 2DiQUX11YaY --tag 136 --imgsz 1280 --color 255 0 255 --start 188 --end 196"
RED_LIGHT = (
    "python demos/video.py --yt-id nrchfeybHmw --imgsz 1024 --weights xpose_m_coco.pt --conf-thres-kp 0.01 --kp-obj "
    "--face --start 56 --end 72"
)
DEPTH = "python demos/video.py -p 2016-01-04_21-33-35_Depth.avi --face --start 0 --end -1 --gif --gif-size 480 360"
VIDEOS = {  # with the frames that they need at one in a second
    "yBZ0Y2t0ceo_480p.mp4": 4, "2DiQUX11YaY_720p.mp4": 197, "nrchfeybHmw_480p.mp4": 73, "Dy62-eTNvY4_1080p.mp4": 51,
    "2016-01-04_21-33-35_Depth.avi": 4,
}  # fmt: skip
DEMOS = (
    demo("python demos/image.py --bbox", "example_xpose_l_coco_bbox_kp_obj.png"),
    demo("python demos/image.py --bbox --pose --face --no-kp-dets", "example_xpose_l_coco_bbox_pose_face.png"),
    demo(
        "python demos/image.py --bbox --pose --face --no-kp-dets --kp-bbox",
        "example_xpose_l_coco_bbox_pose_face_kpbbox.png",
        quick=True,
    ),
    demo("python demos/image.py --pose --face", "example_xpose_l_coco_pose_face_kp_obj.png"),
    demo("python demos/video.py --face --display", says=NO_DISPLAY),
    demo("python demos/video.py --face --device cpu --gif", "yBZ0Y2t0ceo_480p_xpose_l_coco_cpu.gif"),
    demo(f"{FLASH_MOB} --display", says=NO_DISPLAY),
    demo(f"{FLASH_MOB} --gif", "2DiQUX11YaY_720p_xpose_l_coco_cpu.gif", says=("on 8 frames",)),
    demo(f"{RED_LIGHT} --display", says=NO_DISPLAY),
    demo(f"{RED_LIGHT} --gif", "nrchfeybHmw_480p_xpose_m_coco_cpu.gif", says=("on 16 frames",)),
    demo("python demos/squash.py --display --fps", says=NO_DISPLAY),
    demo("python demos/squash.py --start 42 --end 50 --gif --fps", "squash_inference_xpose_l_coco.gif"),
    demo(DEPTH, "2016-01-04_21-33-35_Depth_xpose_l_coco_cpu.gif"),
    demo("python demos/squash.py --weights kpao_s_coco.pt --imgsz 1280 --display", says=NO_DISPLAY),
    demo("python demos/squash.py --weights kpao_s_coco.pt --imgsz 1280", "squash_inference_kpao_s_coco.mp4"),
)

# ------------------------------------------------------------------------------------------------ fetching

FETCHED_WEIGHTS = tuple(f"kapao_{size}_{data}.pt" for size in "sml" for data in ("coco", "crowdpose"))
THERE = ("datasets/coco/val2017: is there", "datasets/coco/test2017: is there")
FETCHED = (
    Line("sh data/scripts/get_coco_kp.sh", says=THERE, quick=True),
    Line("sh data/scripts/get_crowdpose.sh", says=("json/crowdpose_test.json", "crowdpose/images: is there")),
    Line("sh data/scripts/download_models.sh", says=("kapao_l_crowdpose.pt",), leaves=("downloads.lock.json",)),
    Line("python data/scripts/download_models.py", says=("kapao_l_crowdpose.pt",)),
)

LINES = (*YOLO_POSE, *TRAINED, *JUDGED, *DEMOS, *FETCHED)

# What the READMEs have their users type to other programs. Here `make test` installs all that is needed.
OTHERS = (
    "conda create -n kpao python=3.6", "conda activate kpao", "git clone https://github.com/wmcnally/kpao.git",
    "conda create -n xpose python=3.6", "conda activate xpose", "git clone https://github.com/Malav5372/xpose.git",
    "cd kpao && pip install -r requirements.txt", "cd xpose && pip install -r requirements.txt",
    "cd .. && git clone https://github.com/Jeff-sjtu/CrowdPose.git",
    "cd CrowdPose/crowdpose-api/PythonAPI && sh install.sh && cd ../../../kpao",
    "cd CrowdPose/crowdpose-api/PythonAPI && sh install.sh && cd ../../../xpose",
)  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    made = copied(tmp_path_factory.mktemp("typed") / "limber")
    draw_data(made.folder)
    for name in ("kpao_s_coco.pt", "xpose_l_coco.pt"):  # which commands mean that name none
        put_weights(made.folder, name, "kapao")
    yield made
    shutil.rmtree(made.folder)


def name_of(line: Line) -> str:
    return f"{line.typed} {line.added}".strip().replace("\n", "; ")


def parameter(line: Line) -> object:
    return pytest.param(line, marks=() if line.quick else pytest.mark.slow, id=name_of(line))


@pytest.mark.parametrize("line", [parameter(line) for line in LINES])
def test_a_command_of_the_originals_works_as_it_is_typed(clone: Clone, line: Line) -> None:
    prepare(clone, line)
    shutil.rmtree(clone.folder / "runs", ignore_errors=True)
    before = clone.files()
    ended = clone.type(f"{line.typed} {line.added}")
    assert ended.status == line.status, ended.text
    assert "Traceback" not in ended.text
    for words in line.says:
        assert words in ended.text, ended.text
    after = clone.files()
    written = {name for name, time in after.items() if before.get(name) != time}
    assert set(line.leaves) <= written, written
    assert all((clone.folder / name).stat().st_size > 0 for name in line.leaves)
    if line.status:
        assert not written


def prepare(clone: Clone, line: Line) -> None:
    """What a line needs beside the data, at its published place."""
    folder, text = clone.folder, line.typed
    for name in FETCHED_WEIGHTS:
        if "download_models" in text:  # as its user finds it when everything was fetched before
            put_weights(folder, name, "kapao")
        else:
            (folder / name).unlink(missing_ok=True)
    for name in ("path to the pre-trained ckpts", "path to the pre-trained ckpt"):
        if name in text or text == ONNX:
            put_weights(folder, name, "yolo_pose")
    for name in re.findall(r"(?:kpao|xpose|yolov5)\S+\.pt", text):
        kinds = {"crowdpose": "kapao for crowds", "coco": "kapao"}
        put_weights(folder, name, next((kind for part, kind in kinds.items() if part in name), "detector"))
    for name, frames in VIDEOS.items() if "demos/" in text else ():
        put_video(folder / name, frames)
    if text == ONNX:
        assert clone.type(f"{EXPORT} --img 128 --no-check").status == 0
        (folder / "path to the pre-trained ckpt.onnx").rename(folder / "onnx_inference" / "path_to_onnx_model")


@pytest.mark.parametrize("line", LINES, ids=name_of)
def test_the_flags_of_a_command_of_the_originals_are_read(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    args = doors.read(line.typed.splitlines()[-1], monkeypatch)
    assert "coco-kp.yaml" not in (getattr(args, "data", None) or "")  # here it is coco_kpts.yaml


def test_every_command_of_three_readmes_is_typed_here_word_for_word(shared: object) -> None:
    typed = {readmes.plain(line.typed) for line in LINES}
    published = {command for name in ("yolo_pose", "kapao", "xpose") for command in readmes.commands(name)}
    assert published - typed == set(OTHERS)
    assert typed - published == {f"{TEST.format(size)} --kpt-label" for size in (960, 640)}  # in TI's own README
