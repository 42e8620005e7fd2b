"""Kubernetes manifests (kustomize) and the command that keeps their copies of `monitoring/` equal."""
