"""The alert drill: a real server under load is hurt, and Prometheus and Alertmanager say so and take it back."""
