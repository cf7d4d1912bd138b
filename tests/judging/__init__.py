"""The judge: its questions, its endpoint, its summary."""
