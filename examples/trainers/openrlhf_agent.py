"""OpenRLHF: scores each rollout with its pictures. `--train.agent_func_path examples/trainers/openrlhf_agent.py`

Without arguments, the settings are those of the environment: BASEREWARD_URL and the others.
"""

from basereward_client import Scheme
from basereward_client.adapters.openrlhf import make_agent_executor

AgentExecutor = make_agent_executor(scheme=Scheme("sigmoid"))
