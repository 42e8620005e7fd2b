"""Checkpoint to rewards: the only room that knows torch and transformers."""
