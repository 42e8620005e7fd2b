"""The table of planted mistakes, by subject."""

from tests.k8s.mistakes import fleet, pods, routing, schemas, server

POLICY_MISTAKES = [*server.MISTAKES, *pods.MISTAKES, *fleet.MISTAKES, *routing.MISTAKES]
SCHEMA_MISTAKES = schemas.MISTAKES
