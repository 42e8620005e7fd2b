"""`basereward checkpoint init | inspect | random | verify`: what a folder holds, states and gives."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from service import demo
from service.errors import StartError
from service.model import manifest as manifests
from service.model.checkpoint import Checkpoint, describe, open_checkpoint
from service.model.folder import exists
from service.model.loading import load, open_source
from service.model.location import locate
from service.model.survey import survey
from service.progress import byte_progress


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "checkpoint", help="inspect, describe, make and verify checkpoints"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    _add_init(actions)
    _add_inspect(actions)
    _add_random(actions)
    _add_verify(actions)


def _add_init(actions: Any) -> None:
    parser = actions.add_parser("init", help="write the manifest that a training stack implies")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--recipe", required=True, choices=list(manifests.RECIPES))
    parser.add_argument("--head-prefix", help="what the head's tensors are called, e.g. rm_head")
    parser.add_argument("--activation", choices=["silu", "relu", "tanh", "none"])
    parser.add_argument("--pool", choices=["last", "last_strip_newline"])
    parser.add_argument("--max-pixels", type=int, help="pixel cap of a resized picture")
    parser.add_argument("--force", action="store_true", help="overwrite a manifest")
    parser.set_defaults(run=init)


def _add_inspect(actions: Any) -> None:
    parser = actions.add_parser("inspect", help="print what was found, without reading weights")
    parser.add_argument("checkpoint", nargs="?", help="folder or hub id; unset: the embedded demo")
    parser.add_argument("--revision")
    parser.add_argument("--recipe")
    parser.set_defaults(run=inspect)


def _add_random(actions: Any) -> None:
    parser = actions.add_parser("random", help="write a random-weight checkpoint of any size")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", default="tiny", help="tiny, 50m, 3b, 7b or 32b [tiny]")
    parser.add_argument("--backbone", default="qwen2_5_vl", choices=["qwen2_5_vl", "qwen2_vl"])
    layouts = ["score-dense", "score-seq", "rm_head", "score", "v_head", "value_head_file"]
    parser.add_argument("--head", default="score-dense", choices=layouts)
    parser.add_argument("--prefix-family", default="old", choices=["old", "new", "bare"])
    parser.add_argument("--shard-bytes", type=int, default=4 * 2**30)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(run=random)


def _add_verify(actions: Any) -> None:
    parser = actions.add_parser(
        "verify", help="load it and check its golden or other known rewards"
    )
    parser.add_argument("checkpoint", nargs="?", help="folder or hub id; unset: the embedded demo")
    parser.add_argument(
        "--against",
        type=Path,
        help="another checkpoint folder, or a .jsonl of {prompt, image?, response, reward}",
    )
    for name in ("revision", "recipe"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--device", default="auto", choices=["auto", "cuda", "cpu"])
    parser.add_argument("--dtype", default="auto", choices=["auto", "bfloat16", "float32"])
    parser.add_argument("--tolerance", type=float, help="largest difference [the manifest's]")
    parser.set_defaults(run=verify)


def init(arguments: argparse.Namespace) -> int:
    folder: Path = arguments.folder
    if (folder / manifests.FILE_NAME).exists() and not arguments.force:
        raise StartError(f"{folder} has a {manifests.FILE_NAME} already; --force overwrites it")
    stated = {"prefix": arguments.head_prefix, "activation": arguments.activation}
    changes: dict[str, Any] = {"head": {k: v for k, v in stated.items() if v}}
    if arguments.pool:
        changes["pool"] = arguments.pool
    if arguments.max_pixels is not None:
        changes["pixels"] = {"max": arguments.max_pixels}
    manifest = describe(folder, arguments.recipe, changes)
    path = manifests.write(manifest, folder)
    _print(f"wrote {path}; add golden scores to it, they are checked at every start")
    return 0


def inspect(arguments: argparse.Namespace) -> int:
    source = arguments.checkpoint or demo.checkpoint_folder()
    folder = locate(str(source), arguments.revision)
    if arguments.recipe is None and not exists(folder, manifests.FILE_NAME):
        facts = survey(folder)
    else:
        facts = _facts(open_checkpoint(folder, arguments.recipe))
    _print(json.dumps(facts, indent=2))
    return 0


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    tensors = checkpoint.tensors
    return {
        "folder": str(checkpoint.folder),
        "backbone": checkpoint.model_type,
        "files": sorted({t.file for t in tensors.backbone.values()}),
        "weight_bytes": checkpoint.weight_bytes,
        "backbone_tensors": len(tensors.backbone),
        "head": {
            "tensors": [layer.weight.name for layer in tensors.head],
            "widths": tensors.head_widths,
            "activation": checkpoint.manifest.head.activation,
        },
        "stored_types": sorted({t.dtype for t in tensors.served}),
        "ignored_tensors": list(tensors.ignored),
        "wrappers_taken_off": list(tensors.wrappers),
        "processor": {"file": checkpoint.processor.file, **checkpoint.processor.effective},
        "warnings": [*checkpoint.warnings, *_precision(checkpoint)],
        "recipe": checkpoint.recipe,
        "manifest": checkpoint.manifest.model_dump(mode="json"),
    }


def _precision(checkpoint: Checkpoint) -> list[str]:
    halves = [t.name for t in checkpoint.tensors.served if t.dtype == "F16"]
    return [
        "float16 weights lose 3 bits of their mantissa in bfloat16, the default on a GPU"
    ] * bool(halves)


def random(arguments: argparse.Namespace) -> int:
    from service.model.random_checkpoint import RandomSpec, random_bytes, write_random

    spec = RandomSpec(
        preset=arguments.preset,
        model_type=arguments.backbone,
        head=arguments.head,
        family=arguments.prefix_family,
        shard_bytes=arguments.shard_bytes,
        dtype=arguments.dtype,
        seed=arguments.seed,
    )
    source = demo.checkpoint_folder()
    with byte_progress("writing weights", random_bytes(spec, source)) as advance:
        write_random(spec, arguments.folder, source, advance)
    _print(f"wrote {arguments.folder}")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    from service.model.golden import score_golden
    from service.model.verification import known_rewards, report

    checkpoint = _open(arguments)
    model = load(
        checkpoint,
        name="basereward",
        device=arguments.device,
        dtype=arguments.dtype,
        progress=byte_progress,
    )
    known = known_rewards(checkpoint, arguments.against, arguments.device, arguments.dtype)
    tolerance = model.info.tolerance if arguments.tolerance is None else arguments.tolerance
    results = score_golden(model, known.golden, known.folder)
    lines, good = report(model.info, results, tolerance, known.origin)
    _print("\n".join(lines))
    return 0 if good else 1


def _open(arguments: argparse.Namespace) -> Checkpoint:
    source = arguments.checkpoint or demo.checkpoint_folder()
    return open_source(source, arguments.revision, arguments.recipe)


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
