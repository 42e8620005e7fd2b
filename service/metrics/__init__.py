"""What is counted and measured; the only room that knows prometheus_client."""

from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

from service.metrics.families import OUTCOMES, ROUTES, STATUSES
from service.metrics.verbs import Metrics

__all__ = ["CONTENT_TYPE", "OUTCOMES", "ROUTES", "STATUSES", "Metrics"]
