"""Rewards from a BaseReward server, as RL trainers need them: every public name, and nothing else."""

from basereward_client.client import AsyncRewardClient as AsyncRewardClient
from basereward_client.client import RewardClient as RewardClient
from basereward_client.errors import BadRequest as BadRequest
from basereward_client.errors import DeadlineExceeded as DeadlineExceeded
from basereward_client.errors import FingerprintChanged as FingerprintChanged
from basereward_client.errors import InvalidAnswer as InvalidAnswer
from basereward_client.errors import InvalidPicture as InvalidPicture
from basereward_client.errors import NotReady as NotReady
from basereward_client.errors import RewardError as RewardError
from basereward_client.errors import ServerFailure as ServerFailure
from basereward_client.errors import Unauthorized as Unauthorized
from basereward_client.errors import Unavailable as Unavailable
from basereward_client.rewards import ItemError as ItemError
from basereward_client.rewards import Rewards as Rewards
from basereward_client.rewards import Timing as Timing
from basereward_client.schemes import Scheme as Scheme
from basereward_client.schemes import exact_match as exact_match

__version__ = "0.1.0"
