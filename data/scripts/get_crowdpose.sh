#!/bin/sh
# What KAPAO and XPOSE call python data/scripts/get_crowdpose.py.
exec python "$(dirname "$0")/get_crowdpose.py" "$@"
