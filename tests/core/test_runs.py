"""The folder of a run: a new one each time, unless an old one is asked for."""

from pathlib import Path

import pytest

from utils.core.runs import new_run, run_folder


def test_runs_are_numbered_and_nothing_is_overwritten(tmp_path: Path) -> None:
    made = [new_run(tmp_path / "runs" / "val", "exp") for _ in range(3)]
    assert [folder.name for folder in made] == ["exp", "exp2", "exp3"]
    assert all(folder.is_dir() for folder in made)
    assert new_run(tmp_path / "runs" / "val", "exp", exist_ok=True) == made[0]


def test_a_folder_that_cannot_be_made_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"file.exp: cannot be made: .*; choose another folder with --project"):
        new_run(tmp_path / "file", "exp")


def test_a_folder_stays_only_where_something_was_written_into_it(tmp_path: Path) -> None:
    with run_folder(tmp_path, "used") as used:
        (used / "a.txt").write_text("")
    with pytest.raises(ValueError, match="lost"), run_folder(tmp_path, "unused") as unused:
        raise ValueError("connection lost")
    assert used.exists() and not unused.exists()
