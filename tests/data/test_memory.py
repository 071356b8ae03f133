"""A worker that reads records over and over does not grow."""

import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest

from utils.data.records import Packer, Records

RECORDS = 60_000


def many_records() -> Records:
    packer, points = Packer(17), np.ones(51).tolist()
    for i in range(RECORDS):
        packer.image(f"train2017/{i:012d}.jpg", (480, 640), i)
        for n in range(i % 4):
            packer.person((0, 0, 100, 200), points, area=1000, kind=0, annotation_id=4 * i + n)
    return packer.records("/data/coco")


def private_megabytes() -> float:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def read_all(records: Records) -> float:
    total = 0.0
    for i in range(len(records)):
        persons = records.persons(i)
        total += len(records.path(i)) + float(persons.keypoints.sum()) + float(persons.boxes.sum())
    return total


def work(records: Records, sender) -> None:
    sizes = [private_megabytes()]
    for _ in range(3):
        read_all(records)
        sizes.append(private_megabytes())
    sender.send(sizes)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux how much memory is a process's own")
def test_a_forked_worker_does_not_copy_the_records_it_reads():
    records = many_records()
    nbytes = sum(value.nbytes for value in vars(records).values() if isinstance(value, np.ndarray))
    assert nbytes < 30e6
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    worker = context.Process(target=work, args=(records, sender))
    worker.start()
    start, first, second, third = receiver.recv()
    worker.join()
    assert first - start < 4, "an epoch copied pages of the records"
    assert third - first < 1, "the second and third epoch needed memory of their own"
    assert second - first < 1
