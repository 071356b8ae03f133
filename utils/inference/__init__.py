"""A PoseModel and images become Poses in original pixels."""
