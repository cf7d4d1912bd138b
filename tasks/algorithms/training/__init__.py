"""Judging a training run: before it starts, while it runs, and by what it has come to."""
