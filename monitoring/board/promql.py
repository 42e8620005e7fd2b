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


def gpu(metric: str) -> str:
    """DCGM's, of the GPUs that reward servers use: a Prometheus may keep the pod's labels or its exporter's own."""
    ours = 'pod=~"reward-server-.+"'
    told_by_others = f'exported_namespace=~"$namespace",exported_pod=~"$pod",exported_{ours}'
    return f"{metric}{{{POD},{ours}}} or {metric}{{{told_by_others}}}"


def mean(histogram: str) -> str:
    return f"{rate(histogram + '_sum')} / {rate(histogram + '_count')}"
