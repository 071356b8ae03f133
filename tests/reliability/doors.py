"""Every command of the house as it is typed, for tests that hold all of them to one promise."""

DOORS = (
    "train.py", "val.py", "test.py", "detect.py", "export.py", "demos/image.py", "demos/video.py", "demos/squash.py",
    "-m demos.tour", "-m demos.fusion_figure", "-m utils.data.check", "-m utils.data.convert", "-m utils.data.people",
    "-m models.summary", "-m models.slim", "onnx_inference/yolo_pose_onnx_inference.py", "data/scripts/get_coco.py",
    "data/scripts/get_coco_test.py", "data/scripts/get_crowdpose.py", "data/scripts/download_models.py",
)  # fmt: skip
