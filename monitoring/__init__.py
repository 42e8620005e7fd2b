"""Watching the server: Prometheus rules and their tests, the Grafana dashboard, and the drill that fires alerts."""
