"""The parts that scenes with people, cards and hands are drawn from."""
