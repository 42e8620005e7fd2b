"""ms-swift: `swift rlhf --rlhf_type grpo --external_plugins examples/trainers/swift_plugin.py …`

`--reward_funcs basereward` names it. Without a URL, the settings are those of the environment: BASEREWARD_URL and
the others.
"""

from swift.rewards import orms

from basereward_client import Scheme
from basereward_client.adapters.swift import make_orm

orms["basereward"] = make_orm(scheme=Scheme("sigmoid"), expect_fingerprint="first")
