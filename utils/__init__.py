"""The pillars that surround the models, and the ground (`utils.core`) that all of them stand on."""
