"""The same examples in every run, and as many as the whole folder has time for."""

from hypothesis import settings

settings.register_profile("limber", max_examples=40, deadline=None, derandomize=True, database=None)
settings.load_profile("limber")
