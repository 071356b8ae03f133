"""python data/scripts/download_models.py: KAPAO's published checkpoints (from Google Drive), as its commands name them.

XPOSE's commands find them too: its L is KAPAO's S, its P is M and its M is L. Their authors publish no checksums: the
first download is noted in a lock file, and later ones must equal it. They come from a project under GPL-3.0.
"""

from pathlib import Path

from download import DRIVE, Archive, main

FILES = {
    "kapao_s_coco.pt": "1hv0xwdbdf-Ym06Hpjy6wKyIklNmKmB99",
    "kapao_m_coco.pt": "1B-QGa99n7ZrxkgKCQ1XHnm6j0Y-lvOQz",
    "kapao_l_coco.pt": "1jYDfvRjhMoDf5xpMq1AuzdkFzUeLwt85",
    "kapao_s_crowdpose.pt": "1SmWwmqPwb_G6d9UPAFSUnWZ-4eaL9TTv",
    "kapao_m_crowdpose.pt": "1IqrAk-gBdcfONrlIT6d4ndaDqnlFmT0r",
    "kapao_l_crowdpose.pt": "146DW9ELzIBY2oDofPru446yLErxHrjJU",
}
ARCHIVES = tuple(Archive(DRIVE + number, name) for name, number in FILES.items())

if __name__ == "__main__":
    main(__doc__, ARCHIVES, Path(__file__).resolve().parents[2])
