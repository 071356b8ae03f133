"""python data/scripts/get_coco.py: COCO 2017 as data/coco_kpts.yaml expects it (train 19 GB, val 0.8 GB)."""

from pathlib import Path

from download import Archive, main

HOME = "http://images.cocodataset.org"
ARCHIVES = (
    Archive(
        f"{HOME}/annotations/annotations_trainval2017.zip",
        "annotations_trainval2017.zip",
        md5="f4bbac642086de4f52a3fdda2de5fa2c",
        unpack_into=".",
        contains="annotations/person_keypoints_val2017.json",
    ),
    Archive(
        f"{HOME}/zips/val2017.zip",
        "val2017.zip",
        md5="442b8da7639aecaf257c1dceb8ba8c80",
        unpack_into=".",
        contains="val2017",
    ),
    Archive(
        f"{HOME}/zips/train2017.zip",
        "train2017.zip",
        md5="cced6f7f71b7629ddf16f17bbcfab6b2",
        unpack_into=".",
        contains="train2017",
    ),
)

if __name__ == "__main__":
    main(__doc__, ARCHIVES, Path(__file__).resolve().parents[2] / "datasets" / "coco")
