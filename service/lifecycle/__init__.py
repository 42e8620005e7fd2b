"""From the first listening moment to the exit code: load, check, watch, drain, give up."""

from service.lifecycle.lifecycle import ANSWER_S, Lifecycle

__all__ = ["ANSWER_S", "Lifecycle"]
