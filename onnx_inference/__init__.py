"""Runs exported files without the rest of the house: numpy, OpenCV and onnxruntime only."""
