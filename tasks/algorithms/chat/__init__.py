"""Conversations as text, by any chat template, and what of it a model must write itself."""
