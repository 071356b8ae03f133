"""The folder of a run: numbered, with named columns, curves and one line per epoch that a person can read."""

import re
import sys
from pathlib import Path

import pytest

from tests.training.small import QUICK, trainer
from utils.core.config import read_yaml
from utils.training.log import RunLog, columns, describe_epoch, draw_results, panels, read_results
from utils.training.report import Report, write_report

PNG = b"\x89PNG\r\n\x1a\n"


def row(epoch: int, **more: float) -> dict[str, float]:
    common = {"epoch": epoch, "time": 61.0 * (epoch + 1), "images_per_second": 120.4, "waiting_for_data": 0.034}
    losses = {"train/box": 0.05, "train/keypoint": 0.2 / (epoch + 1), "train/total": 0.25, "lr/weights": 0.01}
    return {**common, "skipped": 0, **losses, **more}


def test_settings_are_kept_beside_the_results(tmp_path: Path) -> None:
    RunLog(tmp_path).write_settings({"epochs": 3, "data": "people.yaml"}, {"lr0": 0.01})
    assert read_yaml(tmp_path / "opt.yaml") == {"epochs": 3, "data": "people.yaml"}
    assert read_yaml(tmp_path / "hyp.yaml") == {"lr0": 0.01}


def test_a_metric_that_appears_later_gets_its_column_beside_its_kind(tmp_path: Path) -> None:
    run = RunLog(tmp_path)
    run.add(row(0))
    run.add(row(1, **{"train/late": 1.0, "metrics/AP": 0.5}))
    header = (tmp_path / "results.csv").read_text().splitlines()[0].split(",")
    assert header == columns(run.rows)
    assert header.index("train/late") == header.index("train/total") + 1
    first, second = read_results(tmp_path / "results.csv")
    assert "metrics/AP" not in first and second["metrics/AP"] == 0.5 and second["epoch"] == 1


def test_rows_of_an_epoch_that_will_be_repeated_are_dropped(tmp_path: Path) -> None:
    run = RunLog(tmp_path)
    for epoch in range(3):
        run.add(row(epoch))
    again = RunLog(tmp_path)
    again.forget_from(2)
    again.add(row(2))
    assert [entry["epoch"] for entry in read_results(tmp_path / "results.csv")] == [0, 1, 2]


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.csv").write_text("epoch,name\n0,Ada\n")
    with pytest.raises(ValueError, match=r"results\.csv: not a results\.csv of a run"):
        RunLog(tmp_path).forget_from(1)


def test_the_line_of_an_epoch_can_be_read_aloud() -> None:
    line = describe_epoch(row(11, **{"metrics/AP": 0.4521}), 0.46, 300, "AP")
    assert line == (
        "epoch 11/299  loss 0.25 (box 0.05, keypoint 0.0167)  AP 0.452 (best 0.460)  "
        "120 images/s, 3% waiting for data  0:12:12"
    )
    assert "2 steps skipped" in describe_epoch({**row(0), "skipped": 2}, 0.0, 3, "AP")


def test_curves_are_drawn_for_losses_metrics_rates_and_speed(tmp_path: Path) -> None:
    rows = [row(epoch, **{"metrics/AP": 0.1 * epoch, "lr/norms": 0.01, "lr/biases": 0.02}) for epoch in range(4)]
    drawn = panels(rows)
    assert list(drawn) == ["AP", "loss: box", "loss: keypoint", "loss: total", "learning rate", "images per second"]
    assert [curve.label for curve in drawn["learning rate"]] == ["weights", "biases"]  # equal ones once
    draw_results(rows, tmp_path / "results.png")
    assert (tmp_path / "results.png").read_bytes().startswith(PNG)


def test_a_run_leaves_its_results_behind(tmp_path: Path) -> None:
    trainer(tmp_path, QUICK).fit()
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    weights = {f"weights/{name}" for name in ("best.safetensors", "last.pt", "last.safetensors")}
    assert names == {"results.csv", "results.png"} | weights


def test_tensorboard_is_only_asked_for_when_wanted_and_its_absence_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    RunLog(tmp_path).add(row(0))
    assert not caplog.text
    RunLog(tmp_path, tensorboard=True).add(row(0))
    assert "TensorBoard is not installed" in caplog.text


def test_tensorboard_gets_every_number_when_it_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = RunLog(tmp_path, tensorboard=True)
    for epoch in range(2):
        log.add(row(epoch, **{"metrics/AP": 0.25 * epoch}))
    log.finish()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("metrics/AP")] == [(0, 0.0), (1, 0.25)]
    assert {"train/total", "lr/weights"} <= set(events.Tags()["scalars"])


# ---------------------------------------------------------------------------------------------- the report


def test_the_report_is_one_page_with_curves_table_bars_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "val.png").write_bytes(PNG + b"pixels")
    report = Report(
        title="exp <3>",
        rows=[row(epoch, **{"metrics/AP": 0.1 * epoch}) for epoch in range(5)],
        metrics={"AP": 0.4, "AP50": 0.7},
        keypoints={"nose": 0.9, "left_ankle": 0.55},
        facts={"model": "yolov5n6_kpts.yaml", "images": 64},
        pictures=((tmp_path / "val.png", "validation, found & true"),),
    )
    write_report(tmp_path / "report.html", report)
    page = (tmp_path / "report.html").read_text()
    assert "exp &lt;3&gt;" in page and "found &amp; true" in page
    assert page.count("<svg") == 6 and "<td>70.0</td>" in page and "left ankle" in page
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "") and "<script" not in page


def test_numbers_beside_a_curve_fit_into_the_margin(tmp_path: Path) -> None:
    rates = (0.00114, 3.21e-5, 0.0123, 12345.678, 0.1)
    for number, rate in enumerate(rates):
        write_report(tmp_path / f"{number}.html", Report(title="exp", rows=[row(0, **{"lr/weights": rate})]))
    pages = [(tmp_path / f"{number}.html").read_text() for number in range(len(rates))]
    ticks = [re.findall(r'text-anchor="end">([^<]+)</text>', page) for page in pages]
    assert max(len(tick) for page in ticks for tick in page) <= 6
    expected = ("1.1e-3", "3.2e-5", "0.0123", "1.2e4", "0.1")
    assert all(tick in page for tick, page in zip(expected, ticks, strict=True))


def test_a_report_without_pictures_or_metrics_is_still_a_page(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", Report(title="exp", rows=[]))
    assert "</html>" in (tmp_path / "report.html").read_text()


def test_a_picture_that_is_not_there_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_report(tmp_path / "report.html", Report(title="exp", rows=[], pictures=((tmp_path / "gone.jpg", "gone"),)))
    assert "gone.jpg" in caplog.text and "base64" not in (tmp_path / "report.html").read_text()
