"""Ids and labels of one conversation per family of chat templates, side by side, one token a line."""
