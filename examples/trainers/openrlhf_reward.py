"""OpenRLHF: scores text without pictures. `--reward.remote_url examples/trainers/openrlhf_reward.py`

Labels (`--data.label_key`) are the reference answers.
"""

from basereward_client import Scheme
from basereward_client.adapters.openrlhf import make_reward_func

reward_func = make_reward_func(scheme=Scheme("hybrid"))
