"""The Grafana dashboard as code: what a panel is, and the rows of panels."""
