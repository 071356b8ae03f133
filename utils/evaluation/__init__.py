"""A predict function and annotated images in, official scores and a diagnosis out."""
