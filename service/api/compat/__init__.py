"""The routes that trainers and serving clients already speak (API.md §3), each one file, all through one engine."""

from service.api.compat.classify import CLASSIFY
from service.api.compat.evaluation import EVALUATION
from service.api.compat.get_reward import GET_REWARD
from service.api.compat.inference import INFERENCE
from service.api.compat.reward import REWARD
from service.api.compat.verify import VERIFY

FORMATS = (GET_REWARD, EVALUATION, REWARD, VERIFY, CLASSIFY, INFERENCE)
