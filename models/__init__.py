"""From a YAML or a checkpoint to a network: layers, their wiring, and one file per method family."""
