"""The `agentflow` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agentflow import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except RuntimeError as error:
        print(f"agentflow: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return code


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is no port: give 0 to 65535")
    return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentflow", description="LLM workflows on Amazon Bedrock.")
    parser.add_argument("--version", action="version", version=f"agentflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="the models of the catalog: ids, limits, prices, ends")
    models.add_argument("--region", help="the region to call them from; default that of the environment")
    models.set_defaults(command=_models)

    local = commands.add_parser("local", help="the offline Bedrock endpoint on this machine")
    actions = local.add_subparsers(title="actions", required=True, metavar="ACTION")

    serve = actions.add_parser("serve", help="run the endpoint until Ctrl-C; the first line of output names its URL")
    serve.add_argument("--port", type=_port, default=8723, help="default 8723, or the next that is free; 0 takes any")
    serve.add_argument("--model", default="smollm2", help="smollm2 (default), scripted, or a FILE.gguf")
    serve.add_argument("--script", type=Path, help="what --model scripted answers, as a JSON file")
    serve.add_argument("--parent", action="store_true", help="end when standard input ends (used by AgentFlow itself)")
    serve.set_defaults(command=_serve)

    pull = actions.add_parser("pull", help="fetch the small model's weights (93 MB) into the user's cache folder")
    pull.set_defaults(command=_pull)
    return parser


def _models(options: argparse.Namespace) -> int:
    from agentflow.models.choice import list_models

    print(list_models(options.region).astype("string").fillna("-").to_string(index=False))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from agentflow.local.facts import ServedModel
    from agentflow.local.serve import serve
    from agentflow.models.catalog import load_catalog

    models = [
        ServedModel(spec.id, spec.profiles, spec.on_demand, spec.context_tokens, spec.max_output_tokens)
        for spec in load_catalog().models.values()
    ]
    return serve(options.model, options.port, models, parent=options.parent, script=options.script)


def _pull(_options: argparse.Namespace) -> int:
    from agentflow.local.weights import fetch_smollm2

    print(fetch_smollm2())
    return 0
