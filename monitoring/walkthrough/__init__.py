"""The walk through docs/alerts.md: causes on real servers, what the page says to see and to do, and what came of it."""
