"""Training: a model and batches in, a trained model out. Imports its own folder and the ground."""
