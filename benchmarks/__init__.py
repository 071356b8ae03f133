"""Each speed claim in docs/benchmarks.md is printed by one of these commands."""
