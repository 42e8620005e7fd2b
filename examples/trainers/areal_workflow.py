"""AReaL: a workflow whose rewards come from a server, by an awaited function instead of AReaL's pool.

Where only a name can be given: `reward_fn="basereward_client.adapters.areal.reward_fn"`, which takes its settings from
the environment.
"""

from typing import Any

from areal.workflow.vision_rlvr import VisionRLVRWorkflow

from basereward_client import Scheme
from basereward_client.adapters.areal import make_async_reward_fn, reward_fn


def make_workflow(
    gconfig: Any, tokenizer: Any, processor: Any, url: str = "http://127.0.0.1:8000"
) -> VisionRLVRWorkflow:
    workflow = VisionRLVRWorkflow(reward_fn, gconfig, tokenizer, processor, enable_thinking=False)
    workflow.async_reward_fn = make_async_reward_fn(url, scheme=Scheme("hybrid"))
    return workflow
