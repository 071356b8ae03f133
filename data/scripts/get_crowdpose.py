"""python data/scripts/get_crowdpose.py: CrowdPose as data/crowdpose.yaml expects it (2.2 GB, from Google Drive).

Its authors publish no checksums: the first download is noted in a lock file, and later ones must equal it. Google
limits how often a file is fetched in a day; then a browser helps: put images.zip into datasets/crowdpose and the JSON
files into its folder json, and run the command again.
"""

from pathlib import Path

from download import DRIVE, Archive, main

ARCHIVES = (
    Archive(DRIVE + "13xScmTWqO6Y6m_CjiQ-23ptgX9sC-J9I", "json/crowdpose_trainval.json"),
    Archive(DRIVE + "1FUzRj-dPbL1OyBwcIX2BgFPEaY5Yrz7S", "json/crowdpose_test.json"),
    Archive(DRIVE + "1VprytECcLtU4tKP32SYi_7oDRbw7yUTL", "images.zip", unpack_into=".", contains="images"),
)

if __name__ == "__main__":
    main(__doc__, ARCHIVES, Path(__file__).resolve().parents[2] / "datasets" / "crowdpose")
