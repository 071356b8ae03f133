"""Files on disk become Batches: annotations, augmentation, loading, and people that are drawn."""
