"""The processes that touch torch, and how they are started."""
