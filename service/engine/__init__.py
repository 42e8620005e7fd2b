"""Admission, preparation, the wait for the model, and the answer to the whole request."""

from service.engine.admission import Admission, AdmissionLimits, Caller, Tenant
from service.engine.call import Scored, Timing, Usage
from service.engine.health import HealthLimits
from service.engine.reward_engine import RewardEngine
from service.engine.turns import Turns

__all__ = [
    "Admission",
    "AdmissionLimits",
    "Caller",
    "HealthLimits",
    "RewardEngine",
    "Scored",
    "Tenant",
    "Timing",
    "Turns",
    "Usage",
]
