"""The BaseReward server: an application (`python -m service`), not a library."""

__version__ = "0.1.0"
