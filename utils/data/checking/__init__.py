"""What can be wrong with a data set, and how it is told."""
