"""python test.py: what YOLO-Pose called val.py; the flags are the same."""

from utils.core.flags import run
from val import main

if __name__ == "__main__":
    run(main)
