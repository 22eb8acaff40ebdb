"""The `casebook` command.

Every command imports its parts when it runs: `casebook --help` answers in a third of a second, not in the two that gRPC
and Kafka take to import.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli.errors import CommandError
from cli.home import Home

if TYPE_CHECKING:
    from rich.console import Console

    from chassis.settings import Settings
    from cli.api_keys import Administrator

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Casebook: AI system designs that run, and what runs them.",
)
models = typer.Typer(no_args_is_help=True, help="Which version of a model answers.")
topics = typer.Typer(no_args_is_help=True, help="Kafka's topics, from infra/kafka/topics.yaml.")
dlq = typer.Typer(no_args_is_help=True, help="Dead letters: events that were given up.")
keys = typer.Typer(no_args_is_help=True, help="API keys.")
audit = typer.Typer(no_args_is_help=True, help="What was asked for of keys and releases.")
fault = typer.Typer(no_args_is_help=True, help="Faults on purpose, to see their alerts: infra/faults.md.")
app.add_typer(models, name="models")
app.add_typer(topics, name="topics")
app.add_typer(dlq, name="dlq")
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")
app.add_typer(fault, name="fault")

Address = Annotated[str, typer.Option(envvar="CASEBOOK_INFERENCE_ADDRESS", help="The model server, host:port.")]
Gateway = Annotated[str, typer.Option(envvar="CASEBOOK_GATEWAY", help="The API, http://host:port.")]
ApiKey = Annotated[str, typer.Option(envvar="CASEBOOK_API_KEY", help="An administrator's; default: the first start's.")]
TraceFolder = Annotated[Path | None, typer.Option(help="Where the traces lie; default <home>/traces.")]
KeyId = Annotated[str, typer.Argument(help="The part of the key between its two underscores.")]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
Limit = Annotated[int, typer.Option(help="At most this many.")]


# The embedded system


@app.command()
def prepare() -> None:
    """Puts data and models into the data folder ($CASEBOOK_HOME, default .casebook). May be repeated."""
    from cli.prepare import prepare as run

    home = Home.from_environment()
    with _failures_in_words():
        run(home, home.path, lambda what: _console().print(what))


@app.command()
def up() -> None:
    """Starts every service on embedded infrastructure and stays; Ctrl-C ends all."""
    from cli import run

    with _failures_in_words():
        raise typer.Exit(run.up(Home.from_environment(), _console()))


@app.command()
def demo() -> None:
    """Starts everything, walks through all that it does on real input, and stays; Ctrl-C ends all."""
    from cli import run

    with _failures_in_words():
        raise typer.Exit(run.demo(Home.from_environment(), _console()))


@app.command()
def demo_check() -> None:
    """The same walk through a fresh system on free ports, then ends it; status 1 where a step did not hold."""
    from cli import run

    with _failures_in_words():
        raise typer.Exit(run.demo_check(Home.from_environment(), _console()))


@app.command()
def walk(gateway: Gateway = "", api_key: ApiKey = "", traces: TraceFolder = None) -> None:
    """The same walk through a system that runs already, wherever; status 1 where a step did not hold."""
    from cli import walks

    with _administrator(gateway, api_key) as administrator:
        folder = traces or Home.from_environment().path / "traces"
        system = walks.System(administrator.gateway, administrator.key, folder)
        raise typer.Exit(1 if walks.run(system, _console()) else 0)


@app.command()
def trace(
    trace_id: Annotated[str, typer.Argument(help="32 hex digits, as in the X-Trace-Id header of an answer.")],
    folder: TraceFolder = None,
) -> None:
    """Prints one trace as a tree: service, name, start, duration, and what went over Kafka."""
    from cli import traces

    folder = folder or Home.from_environment().path / "traces"
    found = traces.find(trace_id, folder)
    if found is None:
        _fail(f"no trace {trace_id} in {folder} (a process writes its spans within a second)")
    _console().print(traces.render(found))


@app.command()
def logs(
    trace: Annotated[str, typer.Option(help="32 hex digits, as in the X-Trace-Id header of an answer.")],
    source: Annotated[str, typer.Option(help="A folder of logs, or - for lines on standard input.")] = "",
) -> None:
    """Prints what every process logged of one trace (calls that went well are logged with CASEBOOK_LOG_LEVEL=DEBUG)."""
    from cli import log_search

    folder = Path(source) if source else Home.from_environment().path / "logs"
    found = log_search.pick(trace, sys.stdin) if source == "-" else log_search.find(trace, folder)
    if not found:
        _fail(
            f"no log line of trace {trace} in {'standard input' if source == '-' else folder}. Calls that went well "
            "are logged at DEBUG alone: start the processes with CASEBOOK_LOG_LEVEL=DEBUG (as in "
            "`CASEBOOK_LOG_LEVEL=DEBUG make demo`) and send the request again. "
            f"Its spans are there at any level: casebook trace {trace}"
        )
    _console().print(log_search.render(found), end="", soft_wrap=True)


# Releases


@models.command("list")
def list_models(address: Address = "") -> None:
    """Every model with its versions and its release."""
    from cli import releases

    with _operator(address) as (where, settings):
        releases.show_models(where, settings, _console())


@models.command()
def promote(model: str, version: str, reason: Reason = "", address: Address = "") -> None:
    """Makes a version stable."""
    from casebook.releases.v1.releases_pb2 import PromoteRequest
    from cli import releases

    request = PromoteRequest(model=model, version=version, reason=reason)
    with _operator(address) as (where, settings):
        answer = releases.ask(where, settings, lambda service: service.Promote(request))
        releases.show_release(answer.release, _console())


@models.command()
def rollback(model: str, reason: Reason = "", address: Address = "") -> None:
    """Ends a canary where there is one, else puts the previous version back."""
    from casebook.releases.v1.releases_pb2 import RollbackRequest
    from cli import releases

    request = RollbackRequest(model=model, reason=reason)
    with _operator(address) as (where, settings):
        answer = releases.ask(where, settings, lambda service: service.Rollback(request))
        releases.show_release(answer.release, _console())


@models.command()
def canary(
    model: str,
    version: str,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the keys; 0 ends the canary.")],
    reason: Reason = "",
    address: Address = "",
) -> None:
    """Sends a share of the keys to a version."""
    from casebook.releases.v1.releases_pb2 import SetCanaryRequest
    from cli import releases

    request = SetCanaryRequest(model=model, version=version, share=share, reason=reason)
    with _operator(address) as (where, settings):
        answer = releases.ask(where, settings, lambda service: service.SetCanary(request))
        releases.show_release(answer.release, _console())


@models.command()
def shadow(
    model: str,
    version: Annotated[str, typer.Argument(help="Without one, the shadow ends.")] = "",
    reason: Reason = "",
    address: Address = "",
) -> None:
    """Runs a version beside the stable one; it never answers."""
    from casebook.releases.v1.releases_pb2 import SetShadowRequest
    from cli import releases

    request = SetShadowRequest(model=model, version=version, reason=reason)
    with _operator(address) as (where, settings):
        answer = releases.ask(where, settings, lambda service: service.SetShadow(request))
        releases.show_release(answer.release, _console())


@models.command()
def history(
    model: Annotated[str, typer.Argument(help="Without one, every model.")] = "",
    limit: Limit = 50,
    address: Address = "",
) -> None:
    """Who changed what, when; newest first."""
    from cli import releases

    with _operator(address) as (where, settings):
        releases.show_history(where, settings, model, limit, _console())


# Kafka


@topics.command("apply")
def apply_topics(
    file: Annotated[Path, typer.Option(help="What the topics should be.", exists=True)] = Path(
        "infra/kafka/topics.yaml"
    ),
    replication: Annotated[int | None, typer.Option(min=1, help="In place of the file's.")] = None,
    wait_seconds: Annotated[float, typer.Option(min=0, max=3600, help="How long a broker may take to answer.")] = 0,
) -> None:
    """Creates the topics that are missing and changes settings that differ; deletes nothing."""
    from cli import kafka_commands

    with _failures_in_words():
        kafka_commands.apply_topics(_settings(), file, replication, wait_seconds, _console())


@topics.command("list")
def list_topics() -> None:
    """The topics of the cluster."""
    from cli import kafka_commands

    with _failures_in_words():
        kafka_commands.list_topics(_settings(), _console())


@dlq.command("list")
def list_dead_letters(topic: str, limit: Limit = 100) -> None:
    """The dead letters of a topic, oldest first, and why each was given up."""
    from cli import kafka_commands

    with _failures_in_words():
        kafka_commands.list_dead_letters(_settings(), topic, limit, _console())


@dlq.command("replay")
def replay_dead_letters(
    topic: str,
    event_id: Annotated[str, typer.Option(help="This one alone.")] = "",
    reason_contains: Annotated[str, typer.Option(help="Those whose reason contains this text.")] = "",
    limit: Limit = 100,
) -> None:
    """Publishes dead letters to the topic that they came from, as they were."""
    from cli import kafka_commands

    with _failures_in_words():
        kafka_commands.replay_dead_letters(_settings(), topic, event_id, reason_contains, limit, _console())


# Faults


@fault.command("set")
def set_fault(
    name: Annotated[str, typer.Argument(help="slow-model, wrong-version, stale-features or lost-consumer.")],
    target: Annotated[str, typer.Argument(help="The model or consumer group; default din, recommender.features.")] = "",
    delay: Annotated[float, typer.Option(min=0.001, max=60, help="Seconds that a slow model takes longer.")] = 0.3,
    seconds: Annotated[int, typer.Option(min=1, max=3600, help="It ends by itself after these.")] = 600,
) -> None:
    """Breaks something, where the processes allow it (CASEBOOK_FAULTS=true)."""
    from cli import fault_commands

    with _failures_in_words():
        fault_commands.give(_settings(), fault_commands.named(name), target, delay, seconds, _console())


@fault.command("list")
def list_faults() -> None:
    """The faults that are ordered now."""
    from cli import fault_commands

    with _failures_in_words():
        fault_commands.show(_settings(), _console())


@fault.command("clear")
def clear_faults(name: Annotated[str, typer.Argument(help="Without one, every fault.")] = "") -> None:
    """Ends a fault."""
    from cli import fault_commands

    with _failures_in_words():
        fault_commands.clear(_settings(), fault_commands.named(name) if name else None, _console())


# API keys


@keys.command()
def show() -> None:
    """Prints the key that the first start has left in the data folder."""
    from cli import api_keys

    with _failures_in_words():
        print(api_keys.first(Home.from_environment()))


@keys.command()
def create(
    principal: Annotated[str, typer.Argument(help="Who will use the key.")],
    role: Annotated[list[str], typer.Option(help="viewer, reviewer, operator or admin; may be repeated.")],
    gateway: Gateway = "",
    admin_key: ApiKey = "",
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Without it: never.")] = None,
) -> None:
    """Creates an API key and prints it, once."""
    with _administrator(gateway, admin_key) as administrator:
        print(administrator.create(principal, role, expires_in_days))


@keys.command("list")
def list_keys(gateway: Gateway = "", admin_key: ApiKey = "") -> None:
    """The keys of the administrator's tenant, newest first; no secrets."""
    with _administrator(gateway, admin_key) as administrator:
        administrator.show_keys(_console())


@keys.command()
def rotate(
    key_id: KeyId,
    grace_seconds: Annotated[int, typer.Option(min=0, help="How long the old key works beside the new one.")] = 86_400,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="Without it: never.")] = None,
    gateway: Gateway = "",
    admin_key: ApiKey = "",
) -> None:
    """Makes a new key in place of another and prints it, once; both work until the grace time is over."""
    with _administrator(gateway, admin_key) as administrator:
        print(administrator.rotate(key_id, grace_seconds, expires_in_days))


@keys.command()
def revoke(
    key_id: KeyId,
    grace_seconds: Annotated[int, typer.Option(min=0, help="How long it works yet.")] = 0,
    gateway: Gateway = "",
    admin_key: ApiKey = "",
) -> None:
    """Ends a key."""
    with _administrator(gateway, admin_key) as administrator:
        administrator.revoke(key_id, grace_seconds)


@audit.command("list")
def list_audit(limit: Limit = 50, gateway: Gateway = "", admin_key: ApiKey = "") -> None:
    """Who asked for what of keys and releases over the API, with what outcome; newest first."""
    with _administrator(gateway, admin_key) as administrator:
        administrator.show_audit(limit, _console())


@contextmanager
def _administrator(gateway: str, admin_key: str) -> "Iterator[Administrator]":
    with _failures_in_words():
        from cli.api_keys import Administrator

        home = Home.from_environment()
        home.enter()
        yield Administrator.of(home, gateway or os.environ.get("CASEBOOK_GATEWAY", ""), admin_key)


def _settings() -> "Settings":
    """The environment's settings; where they say nothing, those of the system that runs in the data folder."""
    from chassis.settings import Settings, load

    Home.from_environment().enter()
    return load(Settings)


@contextmanager
def _operator(address: str) -> "Iterator[tuple[str, Settings]]":
    with _failures_in_words():
        settings = _settings()
        where = address or os.environ.get("CASEBOOK_INFERENCE_ADDRESS", "")
        if not where:
            _fail("nothing runs in the data folder: give the model server's --address (or CASEBOOK_INFERENCE_ADDRESS)")
        yield where, settings


@contextmanager
def _failures_in_words() -> Iterator[None]:
    """A failure that explains itself ends in its message and status 1; any other is a bug and is shown whole."""
    try:
        yield
    except CommandError as error:
        _fail(str(error))
    except Exception as error:
        # Imported only now: gRPC comes with it. Whoever raised a CasebookError has imported it already.
        from chassis.errors import CasebookError

        if isinstance(error, CasebookError):
            _fail(error.message)
        raise


def _fail(message: str) -> NoReturn:
    print(f"casebook: {message}", file=sys.stderr)
    raise typer.Exit(1)


def _console() -> "Console":
    from rich.console import Console

    # Into a pipe or a file: no terminal's width to keep to.
    return Console(width=None if sys.stdout.isatty() else 160)


def main() -> None:
    """The entry point."""
    app()


if __name__ == "__main__":
    main()
