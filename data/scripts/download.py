"""Archives of data sets: fetched by utils/core/download.py, checked, unpacked. Standard library only, as that is."""

import argparse
import json
import shutil
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DRIVE = "https://drive.google.com/uc?id="  # and the number of a file of Google Drive
LOCK = "downloads.lock.json"  # the digests of files whose publishers give none, as they were on the first download


@dataclass(frozen=True)
class Archive:
    """One file to fetch."""

    url: str
    name: str  # what it is called here
    md5: str | None = None  # as published; without one the first download is noted and later ones must equal it
    unpack_into: str | None = None  # a folder below the data set's; None leaves the file as it is
    contains: str = ""  # a file or folder that is there when it has been unpacked


def main(description: str, archives: Sequence[Archive], folder: Path) -> None:
    """The command line of every script here."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--to", type=Path, default=folder, metavar="DIR", help=f"the data set's folder ({folder})")
    parser.add_argument("--only", nargs="+", choices=[archive.name for archive in archives], metavar="NAME")
    parser.add_argument("--keep", action="store_true", help="keep archives that were unpacked")
    parser.add_argument("--tries", type=int, default=20, help="give up after so many broken connections (%(default)s)")
    flags = parser.parse_args()
    from _root import reach_the_house

    reach_the_house()
    from utils.core.console import start_logging

    start_logging()
    chosen = [archive for archive in archives if not flags.only or archive.name in flags.only]
    try:
        for archive in chosen:
            obtain(archive, flags.to, tries=flags.tries, keep=flags.keep)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a full disk, a folder that may not be written
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def obtain(archive: Archive, folder: Path, *, tries: int = 20, keep: bool = False, pause: float = 2.0) -> None:
    """Fetch, check and unpack one file, unless that was done before."""
    from utils.core.download import fetch

    path = folder / archive.name
    if archive.unpack_into is not None and archive.contains and (folder / archive.contains).exists():
        print(f"{folder / archive.contains}: is there")
        return
    if not path.exists():
        fetch(archive.url, path, tries=tries, pause=pause)
    check(archive, path)
    if archive.unpack_into is not None:
        unpack(path, folder / archive.unpack_into, archive.contains and folder / archive.contains)
        if not keep:
            path.unlink()


def check(archive: Archive, path: Path) -> None:
    """Compare the file with its published md5, else with what the first download was; a wrong one is set aside."""
    from utils.core.download import digest

    if archive.md5:
        found, expected, whose = digest(path, "md5"), archive.md5, "as published"
    else:
        lock = path.parent / LOCK
        noted = json.loads(lock.read_text(encoding="utf-8")) if lock.exists() else {}
        found = digest(path, "sha256")
        if archive.name not in noted:
            lock.write_text(json.dumps(noted | {archive.name: found}, indent=1), encoding="utf-8")
            print(f"{path}: its publisher gives no checksum; {found} is noted in {lock}")
            return
        expected, whose = noted[archive.name], f"as noted in {lock}"
    if found != expected:
        wrong = path.with_name(path.name + ".wrong")
        path.replace(wrong)
        raise ValueError(f"{wrong}: checksum {found}; expected {expected} {whose}; run the command again")
    print(f"{path}: complete")


def unpack(path: Path, folder: Path, result: Path | str) -> None:
    """Unpack a zip; under another name until all of it is there, so that half of it is never taken for the whole."""
    beside = folder / f".{path.name}.unpacking"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(beside)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}: not a usable zip file ({error}); remove it and run the command again") from None
    for entry in beside.iterdir():
        _merge(entry, folder / entry.name)
    shutil.rmtree(beside)
    if result and not Path(result).exists():
        raise ValueError(f"{path}: unpacked, but {result} is not there; is it the right archive?")
    print(f"{folder}: unpacked {path.name}")


def _merge(source: Path, target: Path) -> None:
    """Move a file or a whole folder, into what is there already."""
    if source.is_dir() and target.is_dir():
        for entry in source.iterdir():
            _merge(entry, target / entry.name)
    else:
        source.replace(target)
