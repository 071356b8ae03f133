"""python test.py: what YOLO-Pose called val.py; the flags are the same."""

import runpy
from pathlib import Path

if __name__ == "__main__":
    runpy.run_path(str(Path(__file__).with_name("val.py")), run_name="__main__")
