"""slime: scores a group with its pictures. `--custom-rm-path slime_reward.reward --group-rm`

Without pictures and schemes no file is needed: `--rm-type remote_rm --rm-url http://127.0.0.1:8000/reward`.
"""

from basereward_client import Scheme
from basereward_client.adapters.slime import make_reward

reward = make_reward(scheme=Scheme("hybrid"))
