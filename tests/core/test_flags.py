"""The flags that commands share: old spellings, suggestions, and how a command ends."""

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from utils.core import command, flags
from utils.core.config import ROOT


def parser() -> command.Parser:
    made = command.Parser("Finds people.", prog="detect.py")
    flags.add_model_flags(made, weights="best.safetensors")
    flags.add_image_flags(made, batch=8)
    flags.add_select_flags(made)
    flags.add_view_flags(made)
    flags.add_run_flags(made, project="runs/detect")
    return made


def test_help_imports_neither_torch_nor_opencv() -> None:
    program = (
        "import sys\n"
        "from utils.core import command, flags\n"
        "parser = command.Parser('Finds people.')\n"
        "for add in (flags.add_model_flags, flags.add_select_flags, flags.add_view_flags):\n"
        "    add(parser)\n"
        "flags.add_image_flags(parser, batch=8)\n"
        "flags.add_run_flags(parser, project='runs')\n"
        "parser.print_help()\n"
        "print('heavy:', sorted({'torch', 'cv2', 'numpy', 'torchvision', 'tqdm'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage:") and "Finds people." in done.stdout
    assert "heavy: []" in done.stdout


def test_help_shows_defaults_where_there_are_some_and_hides_what_is_obsolete() -> None:
    text = parser().format_help()
    assert "images at a time (default: 8)" in text
    assert "(default: None)" not in text and "(default: False)" not in text and "(default: [])" not in text
    assert "kpt-label" not in text and "local_rank" not in text


def test_help_shows_a_list_as_it_is_typed() -> None:
    made = command.Parser("Finds people.")
    flags.add_validation_flags(made)
    assert "as val.py's --scales (default: 1.0)" in made.format_help()


def published(weights: str | None = None) -> command.Parser:
    made = command.Parser("Finds people.", prog="val.py")
    flags.add_model_flags(made, weights=weights, published=("yolov5s6_kpts.pt", "kapao_s_coco.pt"))
    return made


def test_who_names_no_weights_means_the_published_ones_that_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert published().parse_args([]).weights is None
    assert published("example.safetensors").parse_args([]).weights == "example.safetensors"
    assert "default: yolov5s6_kpts.pt or kapao_s_coco.pt where it is here" in " ".join(
        published().format_help().split()
    )
    (tmp_path / "kapao_s_coco.pt").touch()
    with caplog.at_level(logging.INFO, logger="limber"):
        assert published("example.safetensors").parse_args([]).weights == "kapao_s_coco.pt"
    assert caplog.messages == ["--weights: none named; kapao_s_coco.pt is here"]
    assert published().parse_args(["--weights", "mine.pt"]).weights == "mine.pt"
    assert published("example.safetensors").parse_args(["--weights", ""]).weights is None  # from nothing, in YOLOv5
    assert len(caplog.messages) == 1


def test_kapaos_weights_are_found_under_the_names_that_others_gave_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("kapao_m_coco.pt", "kapao_l_crowdpose.pt"):
        (tmp_path / name).touch()
    for typed, meant in (
        ("kpao_m_coco.pt", "kapao_m_coco.pt"),
        ("xpose_p_coco.pt", "kapao_m_coco.pt"),  # Pro is the middle one,
        ("xpose_m_crowdpose.pt", "kapao_l_crowdpose.pt"),  # Max the large one
        ("xpose_m_coco.pt", "xpose_m_coco.pt"),  # kapao_l_coco.pt is not here
    ):
        assert published().parse_args(["--weights", typed]).weights == meant
    (tmp_path / "xpose_p_coco.pt").touch()
    assert published().parse_args(["--weights", "xpose_p_coco.pt"]).weights == "xpose_p_coco.pt"


@pytest.mark.parametrize("flag", ["--img", "--imgsz", "--img-size"])
def test_the_input_size_is_read_under_all_its_names(flag: str) -> None:
    assert parser().parse_args([flag, "384", "640"]).img == [384, 640]
    assert parser().parse_args([f"{flag}=640"]).img == [640]


@pytest.mark.parametrize("flag", ["--batch", "--batch-size"])
def test_the_batch_size_is_read_under_both_its_names(flag: str) -> None:
    assert parser().parse_args([flag, "3"]).batch_size == 3
    assert parser().parse_args([]).batch_size == 8


def test_flips_may_be_negative_numbers() -> None:
    args = parser().parse_args(["--scales", "0.8", "1", "--flips", "-1", "3"])
    assert (args.scales, args.flips) == ([0.8, 1.0], [-1, 3])


@pytest.mark.parametrize(
    "typed",
    [["--kpt-label"], ["--local_rank", "1"], ["--local_rank=1"], ["--local-rank", "1"], ["--local-rank=0"],
     ["--kpt-label", "--local_rank", "0"]],
)  # fmt: skip
def test_flags_of_old_are_read_with_a_note_and_leave_no_trace(
    typed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "limber"):
        args = parser().parse_args([*typed, "--device", "cpu"])
    assert f"{typed[0].split('=')[0]} is no longer needed: " in caplog.text
    assert args.device == "cpu"
    assert not {"kpt_label", "local_rank"} & set(vars(args))


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--conf-thers", "0.3"], "--conf-thers: no such flag; did you mean '--conf-thres'?"),
        (["--con=0.3"], "--con: no such flag; did you mean '--conf-thres'?"),
        (["--dev=a-long-value-that-resembles-nothing"], "--dev: no such flag; did you mean '--device'?"),
        (["--zebra"], "--zebra: no such flag\n"),
        (["image.jpg"], "image.jpg: no such flag\n"),
        (["--max-det", "many"], "argument --max-det: invalid int value: 'many'"),
        (["--img"], "argument --img/--img-size/--imgsz: expected at least one argument"),
    ],
)
def test_a_wrong_flag_is_one_line_with_a_suggestion_and_status_two(
    typed: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parser().parse_args(typed)
    assert left.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_flag_is_not_guessed_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["--exist"])
    assert "--exist: no such flag; did you mean '--exist-ok'?" in capsys.readouterr().err


def test_only_thresholds_that_were_typed_are_handed_on() -> None:
    assert flags.selection(parser().parse_args([])) == {}
    typed = parser().parse_args(["--conf-thres", "0", "--max-det", "5"])
    assert flags.selection(typed) == {"conf": 0, "max_poses": 5}
    assert flags.selection(parser().parse_args(["--iou-thres", "0.6"])) == {"iou": 0.6}


def test_the_input_size_is_one_side_or_height_and_width() -> None:
    assert flags.image_size(None) is None
    assert flags.image_size([640]) == (640, 640)
    assert flags.image_size([384, 640]) == (384, 640)
    for wrong in ([1, 2, 3], [0], [640, -1]):
        with pytest.raises(ValueError, match=r"--img: found .*; expected one side, or height and width"):
            flags.image_size(wrong)


# ---------------------------------------------------------------------------------------------- run


def ends(main: Callable[[], int | None]) -> int:
    with pytest.raises(SystemExit) as left:
        command.run(main)
    return left.value.code


def test_a_command_s_status_is_the_process_s() -> None:
    assert ends(lambda: None) == 0
    assert ends(lambda: 0) == 0
    assert ends(lambda: 3) == 3


@pytest.mark.parametrize("text", ["a.yaml: 17 keypoints but 16 sigmas", "first line\n  second line\n"])
def test_what_a_user_got_wrong_is_one_line_and_status_two(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise ValueError(text)

    assert ends(main) == 2
    printed = capsys.readouterr()
    assert printed.err == f"error: {' '.join(text.split())}\n" and printed.out == ""


def test_a_command_can_be_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise KeyboardInterrupt

    assert ends(main) == 130
    assert capsys.readouterr().err == "stopped\n"


def test_a_mistake_in_the_program_shows_its_traceback() -> None:
    def main() -> None:
        raise TypeError("ours")

    with pytest.raises(TypeError, match="ours"):
        command.run(main)


def test_a_command_that_runs_logs_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        command.log.info("12 images")

    assert ends(main) == 0
    assert capsys.readouterr().err == "12 images\n"


def training() -> command.Parser:
    made = command.Parser("Trains.", prog="train.py")
    made.refuse({"--quad": "not here"})
    flags.add_model_flags(made)
    flags.add_data_flags(made)
    flags.add_recipe_flags(made)
    flags.add_validation_flags(made)
    return made


def test_a_flag_that_a_command_does_not_have_is_refused_with_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        training().parse_args(["--quad"])
    assert ended.value.code == 2
    assert "--quad: not here" in capsys.readouterr().err
    assert "quad" not in vars(training().parse_args([])) and "--quad" not in training().format_help()


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        (["--noval"], "evaluate_every", 0), (["--notest"], "evaluate_every", 0), (["--nosave"], "checkpoints", "end"),
        (["--save-period", "5"], "save_period", 5), (["--save_period", "5"], "save_period", 5),
        (["--freeze", "10"], "freeze", 10), (["--freeze", "0", "2"], "freeze", ("0", "2")),
        (["--freeze", "body"], "freeze", ("body",)), (["--cache"], "cache", "ram"),
        (["--cache-images"], "cache", "ram"),
        (["--cache", "disk"], "cache", "disk"), (["--noautoanchor"], "autoanchor", False), ([], "autoanchor", True),
        (["--weights", ""], "weights", None),
        (["--val-scales", "0.8", "1", "--val-flips", "-1", "3"], "val_flips", [-1, 3]), ([], "evaluate_every", None),
        (["--adam"], "optimizer", "Adam"), (["--linear-lr"], "schedule", "linear"), ([], "checkpoints", None),
    ],
)  # fmt: skip
def test_training_flags_mean_what_they_did(typed: list[str], name: str, value: object) -> None:
    assert vars(training().parse_args(typed))[name] == value


def test_flip_test_is_the_picture_and_its_mirror_image() -> None:
    args = parser().parse_args(["--flip-test"])
    assert (args.scales, args.flips) == ([1.0, 1.0], [-1, 3])


def test_augment_is_three_views() -> None:
    args = parser().parse_args(["--augment", "--conf", "0.1", "--iou", "0.6"])
    assert (args.scales, args.flips) == ([1.0, 0.83, 0.67], [-1, 3, -1])
    assert flags.selection(args) == {"conf": 0.1, "iou": 0.6}
