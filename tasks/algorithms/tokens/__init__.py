"""Texts as token ids with the bytes that each takes, as samples, packed."""
