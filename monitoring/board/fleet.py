"""The rows about machines, pods and the bill."""

from monitoring.board.panel import Panel, Query, Row
from monitoring.board.promql import NAMESPACE, POD, gpu, rate

OURS = f"and on (namespace, pod, instance) basereward_ready{{{POD}}}"  # of what every program has

HOST = Row(
    "GPU and host",
    (
        Panel(
            "Device memory",
            "Held by the allocator, and all there is. 0 on a CPU.",
            "bytes",
            (
                Query(f"basereward_gpu_memory_allocated_bytes{{{POD}}}", "{{pod}} tensors"),
                Query(f"basereward_gpu_memory_reserved_bytes{{{POD}}}", "{{pod}} reserved"),
                Query(f"max(basereward_gpu_memory_total_bytes{{{POD}}})", "total"),
            ),
        ),
        Panel(
            "Device busy",
            "Share of the time in which a step runs; 1: always. Below 1 while responses wait, the host is too slow.",
            "percentunit",
            (Query(rate("basereward_forward_seconds_sum", "pod"), "{{pod}}"),),
        ),
        Panel(
            "GPU utilisation",
            "As DCGM sees it; empty without its exporter. 100 % says that a kernel runs, not that the GPU is full.",
            "percent",
            (Query(gpu("DCGM_FI_DEV_GPU_UTIL"), "{{Hostname}} gpu {{gpu}}"),),
        ),
        Panel(
            "Resident memory",
            "Of the server's process. On a CPU the weights are in it.",
            "bytes",
            (
                Query(f"process_resident_memory_bytes{{{POD}}} {OURS}", "{{pod}}"),
                Query(f"basereward_picture_cache_bytes{{{POD}}}", "{{pod}} pictures kept"),
            ),
            width=6,
        ),
        Panel(
            "Open files",
            "Share of the file descriptors that the process may have; connections are most of them.",
            "percentunit",
            (Query(f"process_open_fds{{{POD}}} / process_max_fds{{{POD}}} {OURS}", "{{pod}}"),),
            red_from=0.8,
            width=6,
        ),
        Panel(
            "Event loop lag, p99",
            "How late a sleep of 50 ms ends. High: parsing, answering, the interpreter's lock, or no free core.",
            "s",
            (
                Query(
                    f"histogram_quantile(0.99, {rate('basereward_event_loop_lag_seconds_bucket', 'pod, le')})",
                    "{{pod}}",
                ),
            ),
            width=6,
            red_from=0.25,
        ),
        Panel(
            "Last XID",
            "The last error that the driver reported for a GPU, by DCGM's exporter; 0: none. GpuXid.",
            "none",
            (Query(gpu("DCGM_FI_DEV_XID_ERRORS"), "{{Hostname}} gpu {{gpu}}"),),
            "stat",
            width=6,
            red_from=1,
        ),
    ),
)

PODS = Row(
    "Pods",
    (
        Panel(
            "Ready",
            "1 where /readyz answers 200.",
            "bool_yes_no",
            (Query(f"basereward_ready{{{POD}}}", "{{pod}}"),),
            width=6,
        ),
        Panel(
            "Alive and draining",
            "alive: 1 where /livez answers 200. draining: 1 while a pod stops.",
            "bool_yes_no",
            (
                Query(f"basereward_alive{{{POD}}}", "{{pod}} alive"),
                Query(f"basereward_draining{{{POD}}} > 0", "{{pod}} draining"),
            ),
            width=6,
        ),
        Panel(
            "Starts in the last hour",
            "How often the process began anew: CrashLoop at 3 within half an hour.",
            "none",
            (Query(f"changes(process_start_time_seconds{{{POD}}}[1h]) {OURS}", "{{pod}}"),),
            width=6,
            red_from=3,
        ),
        Panel(
            "Loading the model",
            "How long it took. Startup probes and rollout deadlines must outlast it.",
            "s",
            (Query(f"basereward_model_load_seconds{{{POD}}}", "{{pod}}"),),
            width=6,
            red_from=900,
        ),
        Panel(
            "Reward functions served",
            "Fingerprints per model name. More than one for longer than a rollout: MixedFingerprints.",
            "none",
            (
                Query(
                    f"count by (model) (count by (model, fingerprint) (basereward_model_info{{{NAMESPACE}}}))",
                    "{{model}}",
                ),
            ),
            "stat",
            width=4,
            red_from=2,
        ),
        Panel(
            "What each pod serves",
            "Model, fingerprint and numerics of each pod.",
            "none",
            (Query(f"basereward_model_info{{{POD}}}"),),
            "table",
            width=10,
        ),
        Panel(
            "What each pod runs",
            "Versions of the server, torch and transformers.",
            "none",
            (Query(f"basereward_build_info{{{POD}}}"),),
            "table",
            width=10,
        ),
    ),
)

BILL = Row(
    "Bill",
    (
        Panel(
            "Device seconds by tenant, over the shown time",
            "Seconds of steps, shared out by tokens.",
            "s",
            (
                Query(
                    f"sum by (tenant) (increase(basereward_gpu_seconds_total{{{POD}}}[$__range]))",
                    "{{tenant}}",
                ),
            ),
            "stat",
            width=12,
        ),
        Panel(
            "Devices in use by tenant",
            "Device seconds a second: how many devices' work each tenant gets.",
            "none",
            (Query(rate("basereward_gpu_seconds_total", "tenant"), "{{tenant}}"),),
            width=12,
            stacked=True,
        ),
    ),
)
