"""The HTTP edge: what clients send and read, and nothing of how rewards are made."""
