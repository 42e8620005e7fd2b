"""The few shapes of queries that the panels are made of; every rate is over `$__rate_interval`."""

NAMESPACE = 'namespace=~"$namespace"'
POD = f'{NAMESPACE},pod=~"$pod"'
RUN = f'{NAMESPACE},run=~"$run"'


def rate(metric: str, by: str = "", where: str = POD) -> str:
    """A counter's events a second, summed over pods."""
    grouped = f"sum by ({by}) " if by else "sum"
    return f"{grouped}(rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(q: float, histogram: str, where: str = POD) -> str:
    return f"histogram_quantile({q}, {rate(histogram + '_bucket', 'le', where)})"


def mean(histogram: str) -> str:
    return f"{rate(histogram + '_sum')} / {rate(histogram + '_count')}"
