"""python data/scripts/get_coco_test.py: COCO's test images and their list, for the evaluation server (6.7 GB)."""

from pathlib import Path

from download import Archive, main

HOME = "http://images.cocodataset.org"
ARCHIVES = (
    Archive(
        f"{HOME}/annotations/image_info_test2017.zip",
        "image_info_test2017.zip",
        unpack_into=".",
        contains="annotations/image_info_test-dev2017.json",
    ),
    Archive(
        f"{HOME}/zips/test2017.zip",
        "test2017.zip",
        md5="77ad2c53ac5d0aea611d422c0938fb35",
        unpack_into=".",
        contains="test2017",
    ),
)

if __name__ == "__main__":
    main(__doc__, ARCHIVES, Path(__file__).resolve().parents[2] / "datasets" / "coco")
