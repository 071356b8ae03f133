"""Annotation files of every known form become Records, and Records become annotation files again."""
