"""The ground: types and pure functions. Imports nothing of ours but itself."""
