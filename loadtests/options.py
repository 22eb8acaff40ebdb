"""The options of the users: who asks, for what, and with which key."""

from typing import Any

from locust import events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment

from chassis.settings import secret
from loadtests.people import People


@events.init_command_line_parser.add_listener
def add_options(parser: LocustArgumentParser) -> None:
    """With the defaults 61 of 100 requests are of the users that have history, 24 of the ten most frequent."""
    group = parser.add_argument_group("Casebook: who asks")
    group.add_argument("--visitors", type=int, default=100_000, help="Visitors, the most frequent ones first")
    group.add_argument("--known-users", type=int, default=943, help="How many of them have history (ML-100K's users)")
    group.add_argument("--items", type=int, default=1682, help="Items of the catalogue, named 1 to N")
    group.add_argument("--zipf", type=float, default=1.0, help="Exponent of Zipf's law for visitors and items")
    help_text = "API key, shared by all users [CASEBOOK_API_KEY, CASEBOOK_API_KEY_FILE]"
    parser.add_argument(
        "--api-key", default=secret("CASEBOOK_API_KEY"), is_secret=True, help=help_text
    )  # groups know no secrets


def people(environment: Environment) -> People:
    """A source of visitors and items of its own, with the options of the run."""
    options: Any = environment.parsed_options
    return People(
        visitors=options.visitors, known_users=options.known_users, items=options.items, exponent=options.zipf
    )
