"""A fintech assistant: made data with planted faults, and the story of its repair."""
