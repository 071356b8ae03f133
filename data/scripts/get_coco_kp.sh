#!/bin/sh
# What KAPAO and XPOSE call get_coco.py and get_coco_test.py.
python "$(dirname "$0")/get_coco.py" "$@" && exec python "$(dirname "$0")/get_coco_test.py" "$@"
