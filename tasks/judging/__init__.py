"""The judge: what it is asked, how it is reached, and what its answers say."""
