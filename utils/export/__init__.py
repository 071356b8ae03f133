"""A model becomes files that run without torch, and gives the same keypoints."""
