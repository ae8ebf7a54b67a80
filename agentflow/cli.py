"""The `agentflow` command."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from agentflow import __version__
from agentflow.core.errors import AgentFlowError

_DEPLOYMENT = Path("config/deployment_config.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 failed, 2 wrong arguments, 130 interrupted, 141 cut."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.command(options)
    except (AgentFlowError, RuntimeError) as error:
        print(f"agentflow: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, such as `head`, has enough; nothing is to be written at the end either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:
        if text := str(interrupt):
            print(f"agentflow: {text}", file=sys.stderr)
        return 130
    return code


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{port} is no port: give 0 to 65535")
    return port


def _regions(text: str) -> list[str]:
    regions = text.split(",")
    if not all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", region) for region in regions) or len({*regions}) < len(regions):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of regions: give such as us-east-1,us-west-2")
    return regions


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no pair: give NAME=VALUE")
    return name, value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agentflow", description="LLM workflows on Amazon Bedrock.")
    parser.add_argument("--version", action="version", version=f"agentflow {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    models = commands.add_parser("models", help="the models of the catalog: ids, limits, prices, ends")
    models.add_argument("--region", help="the region to call them from; default that of the environment")
    models.set_defaults(command=_models)

    batch = commands.add_parser(
        "batch",
        help="a workflow over the rows of a file; the same command goes on where it was stopped",
        epilog="Exit codes: 0 all rows are done, 3 done but some rows failed, 4 the budget is used up, 5 stopped (no "
        "credentials, no access, endpoint down, too many failures, `agentflow stop`), 1 nothing was begun, 2 wrong "
        "arguments, 130 and 143 interrupted. After 3, --retry-failed runs the failed rows again; else the same command "
        "goes on.",
    )
    batch.add_argument("input", metavar="INPUT", help="a .parquet, .csv or .jsonl file (.gz too), also s3://...")
    batch.add_argument("--workflow", required=True, type=Path, metavar="FILE", help="the workflow, a YAML file")
    batch.add_argument(
        "--out", required=True, metavar="PATH", help="folder of Parquet parts, also s3://...; {date} in it is today"
    )
    batch.add_argument("--budget", metavar="USD", help="the most that the job may cost, with what it has cost before")
    batch.add_argument("--max-concurrency", type=int, metavar="N", help="the most rows at the same time")
    batch.add_argument("--max-failures", type=int, metavar="N", help="stop where more rows fail")
    batch.add_argument("--retry-failed", action="store_true", help="run the rows again that failed")
    batch.add_argument("--accept-changes", action="store_true", help="go on with a workflow that was changed")
    batch.add_argument(
        "--column", type=_pair, action="append", default=[], metavar="INPUT=COLUMN", help="which column is an input"
    )
    batch.add_argument(
        "--input", type=_pair, action="append", default=[], metavar="INPUT=TEXT", dest="inputs", help="the same in all"
    )
    batch.set_defaults(command=_batch)

    opening = commands.add_parser("open", help="a notebook that holds a step of a past run as a cell, with its values")
    opening.add_argument("run", metavar="RUN", help="the id of a run, as agentflow.runs() lists it, or last")
    opening.add_argument("--step", metavar="STEP", help="default: the prompt that failed, else the last one")
    opening.add_argument(
        "--item", type=int, metavar="N", help="of a mapped step; default: the first that failed, else 0"
    )
    opening.add_argument("--out", type=Path, metavar="FILE.ipynb", help="default: RUN-STEP.ipynb in this folder")
    opening.set_defaults(command=_open)

    _add_diagnosis(commands)
    _add_control(commands)
    _add_deployment(commands)
    _add_health(commands)

    local = commands.add_parser("local", help="the offline Bedrock endpoint on this machine")
    actions = local.add_subparsers(title="actions", required=True, metavar="ACTION")

    serve = actions.add_parser("serve", help="run the endpoint until Ctrl-C; the first line of output names its URL")
    serve.add_argument("--port", type=_port, default=8723, help="default 8723, or the next that is free; 0 takes any")
    serve.add_argument("--model", default="smollm2", help="smollm2 (default), scripted, or a FILE.gguf")
    serve.add_argument(
        "--script", type=Path, help="what --model scripted answers, a YAML file (agentflow/local/script.py)"
    )
    serve.add_argument("--faults", type=Path, help="what goes wrong, as a YAML file (agentflow/local/fault_script.py)")
    serve.add_argument(
        "--regions",
        type=_regions,
        default=["us-east-1"],
        help="such as us-east-1,us-west-2: each gets a URL of its own",
    )
    serve.add_argument(
        "--s3-url", metavar="URL", help="the S3 of batch jobs, such as a moto server's; default: the one boto3 finds"
    )
    serve.add_argument("--parent", action="store_true", help="end when standard input ends (used by AgentFlow itself)")
    serve.set_defaults(command=_serve)

    pull = actions.add_parser("pull", help="fetch the small model's weights (93 MB) into the user's cache folder")
    pull.set_defaults(command=_pull)
    return parser


def _add_diagnosis(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what an alarm sends a person to."""
    diagnose = commands.add_parser(
        "diagnose",
        help="why runs fail, are slow or cost too much, with the evidence and the fix",
        epilog="Finds by rules, with no model: access_denied, throttling, high_latency, memory, hang, wrong_profile, "
        "retired_model, expired_credentials, output_cut, quota_wasted, bad_region, regression, cost_anomaly. The exit "
        "code is 0 whatever it finds, 1 where it could not look.",
    )
    which = diagnose.add_mutually_exclusive_group()
    which.add_argument("--run", metavar="ID", help="one run, also one that still runs, or `last`")
    which.add_argument("--since", metavar="TIME", help="how long ago (30m, 24h, 7d) or a moment; default 1h")
    diagnose.add_argument(
        "--source",
        default="store",
        metavar="SOURCE",
        help="store (default), cloudwatch (the log group of AGENTFLOW_LOG_GROUP), or a file of JSON lines",
    )
    diagnose.add_argument("--alarm", metavar="NAME", help="the alarm that went off: its figure is told")
    diagnose.add_argument("--json", action="store_true", help='print {"findings": [{"cause": ..., ...}], ...}')
    diagnose.set_defaults(command=_diagnose)

    drill = commands.add_parser("drill", help="play a fault on a local endpoint, for `agentflow diagnose` to find")
    drill.add_argument("cause", metavar="CAUSE", help="one of the causes that `agentflow diagnose --help` lists")
    drill.add_argument("--healthy", action="store_true", help="play the control, in which nothing goes wrong")
    drill.set_defaults(command=_drill)


def _add_control(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what sees and steers the runs of other processes."""
    runs = commands.add_parser("runs", help="the runs of the store, those of other processes among them, newest first")
    runs.add_argument("--active", action="store_true", help="those that go on")
    runs.add_argument("--workflow", action="append", metavar="NAME", help="those of a workflow; may be repeated")
    runs.add_argument(
        "--status", action="append", metavar="STATUS", help="ok, failed, interrupted, budget_exceeded or running"
    )
    runs.add_argument("--since", metavar="WHEN", help="started then or later: 2026-11-01, or how long ago: 30min, 7d")
    runs.add_argument("--limit", type=int, metavar="N", help="the newest N; default 20 in the table, all with --json")
    runs.add_argument("--json", action="store_true", help="a list of objects, with the columns of agentflow.runs()")
    runs.set_defaults(command=_runs)

    stop = commands.add_parser(
        "stop",
        help="end runs of other processes on this host as an interrupt does: what is finished is kept",
        epilog="A job over rows, one of whose runs is stopped, ends as stopped; the same command goes on with it. Exit "
        "codes: 0 stopped, 1 there is nothing to stop, or it has not ended after 10 seconds.",
    )
    which = stop.add_mutually_exclusive_group(required=True)
    which.add_argument("run", nargs="?", metavar="RUN", help="the id of a run, or last")
    which.add_argument("--all", action="store_true", help="all that go on on this host")
    stop.set_defaults(command=_stop)

    change = commands.add_parser("set", help="change a setting of a run that goes on in another process on this host")
    change.add_argument("run", metavar="RUN", help="the id of a run, or last")
    change.add_argument(
        "settings",
        nargs="+",
        type=_pair,
        metavar="NAME=VALUE",
        help="max_concurrency=N: the most steps and items at the same time; for a run of a job, the most rows",
    )
    change.set_defaults(command=_set)


def _add_deployment(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add what is done where workflows run for real."""
    deploy = commands.add_parser(
        "deploy",
        help="print what is deployed on AWS: dashboard, alarms, log groups, queries and the policy of the workflows",
        epilog="agentflow deploy template > agentflow.yaml && aws cloudformation deploy --template-file agentflow.yaml "
        "--stack-name agentflow --capabilities CAPABILITY_IAM",
    )
    deploy.add_argument(
        "part",
        choices=["template", "dashboard", "alarms", "policy"],
        help="a CloudFormation template, or a part in the JSON that the AWS CLI takes",
    )
    deploy.add_argument(
        "--config",
        type=Path,
        default=_DEPLOYMENT,
        metavar="FILE",
        help=f"default {_DEPLOYMENT}",
    )
    deploy.add_argument("--name", help="of `alarms`: this one only, for `put-metric-alarm --cli-input-json`")
    deploy.set_defaults(command=_deploy)

    backup = commands.add_parser("backup", help="save config/ and the workflows, with the checksum of each file")
    backup.add_argument(
        "path", metavar="PATH", help="a new .tar.gz, also s3://...; a folder gets one named by the time"
    )
    backup.add_argument(
        "--config",
        type=Path,
        default=_DEPLOYMENT,
        metavar="FILE",
        help=f"its folder is saved, and the workflows that it names; default {_DEPLOYMENT}",
    )
    backup.add_argument(
        "--workflow", type=Path, action="append", default=[], metavar="FILE", help="one more, with what it nests"
    )
    backup.set_defaults(command=_backup)

    restore = commands.add_parser("restore", help="write the files of a backup, once all checksums are right")
    restore.add_argument("path", metavar="PATH", help="of the backup, also s3://...")
    restore.add_argument("--into", type=Path, default=Path(), metavar="DIR", help="default: the current folder")
    restore.set_defaults(command=_restore)


def _add_health(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    health = commands.add_parser(
        "health",
        help="check Bedrock, logs, metrics, credentials, clock, quotas, store and more: a line each, with the fix",
        epilog="Exit codes: 0 nothing failed, 1 something failed, 2 wrong arguments. What is turned off (off) or could "
        "not be checked (?) is no failure. At most one call of a model is made, of 10 tokens. With --serve: /live says "
        "that the process lives and calls nothing; /ready answers 200 or 503, by how the newest request of the store's "
        "runs ended in the last minute, else by one probe a minute. Ctrl-C or SIGTERM ends it.",
    )
    health.add_argument("--json", action="store_true", help="print a JSON object: ok, state, figure and fix of each")
    health.add_argument("--no-call", action="store_true", help="ask no model")
    health.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"whose workflows say which models are used; default {_DEPLOYMENT}, where it is there",
    )
    health.add_argument("--serve", action="store_true", help="serve /live and /ready on 127.0.0.1 until Ctrl-C")
    health.add_argument("--port", type=_port, default=8724, help="of --serve; default 8724, 0 takes any that is free")
    health.set_defaults(command=_health)


def _models(options: argparse.Namespace) -> int:
    from agentflow.models.choice import list_models

    print(list_models(options.region).astype("string").fillna("-").to_string(index=False))
    return 0


def _batch(options: argparse.Namespace) -> int:
    from agentflow.batch.mapping import place_of, run_job
    from agentflow.batch.wanted import Wanted
    from agentflow.core.workflow import Workflow

    wanted = Wanted(
        out=options.out,
        columns=dict(options.column),
        constants=dict(options.inputs),
        budget_usd=options.budget,
        max_concurrency=options.max_concurrency,
        max_failures=options.max_failures,
        retry_failed=options.retry_failed,
        accept_changes=options.accept_changes,
    )
    outcome, _ = run_job(Workflow.from_yaml(options.workflow), options.input, wanted)
    print(outcome.sentence(place_of(options.out)))
    return outcome.exit_code


def _open(options: argparse.Namespace) -> int:
    from agentflow.notebook.open_run import open_run

    print(open_run(options.run, options.step, options.item, options.out))
    return 0


def _diagnose(options: argparse.Namespace) -> int:
    from agentflow.ops.diagnosis.diagnose import diagnose

    found = diagnose(options.run, since=options.since, source=options.source, alarm=options.alarm)
    print(found.to_json() if options.json else repr(found))
    return 0


def _drill(options: argparse.Namespace) -> int:
    from agentflow.ops.drills import rehearse

    run_ids = rehearse(options.cause, healthy=options.healthy)
    print(f"Played {options.cause} in {len(run_ids)} runs, the last {run_ids[-1]}. Find it: agentflow diagnose")
    return 0


def _runs(options: argparse.Namespace) -> int:
    from agentflow.ops.control import list_runs

    print(
        list_runs(
            active=options.active,
            workflow=options.workflow,
            status=options.status,
            since=options.since,
            limit=options.limit,
            as_json=options.json,
        )
    )
    return 0


def _stop(options: argparse.Namespace) -> int:
    from agentflow.ops.control import stop

    text, code = stop(None if options.all else options.run)
    print(text)
    return code


def _set(options: argparse.Namespace) -> int:
    from agentflow.ops.control import change

    print(change(options.run, options.settings))
    return 0


def _deploy(options: argparse.Namespace) -> int:
    from agentflow.ops.deployment.parts import deployment_part

    print(deployment_part(options.part, options.config, alarm=options.name))
    return 0


def _health(options: argparse.Namespace) -> int:
    if options.serve:
        from agentflow.ops.health.serve import serve

        return serve(options.port, call=not options.no_call)
    from agentflow.ops.health.command import run_health

    return run_health(options.config, call=not options.no_call, as_json=options.json)


def _backup(options: argparse.Namespace) -> int:
    from agentflow.ops.backup import back_up

    print(back_up(options.path, options.config, options.workflow))
    return 0


def _restore(options: argparse.Namespace) -> int:
    from agentflow.ops.backup import restore

    print(restore(options.path, options.into))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from agentflow.local.serve import serve
    from agentflow.models.served import served_models

    return serve(
        options.model,
        options.port,
        served_models(),
        parent=options.parent,
        script=options.script,
        faults=options.faults,
        regions=options.regions,
        s3_url=options.s3_url,
    )


def _pull(_options: argparse.Namespace) -> int:
    from agentflow.local.weights import fetch_smollm2

    print(fetch_smollm2())
    return 0
