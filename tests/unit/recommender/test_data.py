"""The loaders, on small files of every layout and on everything that can be wrong with them."""

import gzip
import hashlib
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recommender import data
from recommender.data import DataError
from recommender.features import Interaction, ItemFacts, UserProfile

RECBOLE = {
    "ml.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
    "2\t12\t3\t20\n1\t12\t5\t10\n1\t1\t4\t10\n",
    "ml.item": "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    "1\tToy Story\t1995\tAnimation Comedy\n12\tUsual Suspects, The\tV\tunknown\n",
    "ml.user": "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
    "1\t24\tM\twriter\t85711\n2\t53\tF\tother\t94043\n",
}
FLAGS = "|".join("1" if genre in ("Animation", "Comedy") else "0" for genre in data.GENRES_100K)
GROUPLENS_100K = {
    "u.data": "2\t12\t3\t20\n1\t12\t5\t10\n1\t1\t4\t10\n",
    "u.item": f"1|Toy Story (1995)|01-Jan-1995||http://x|{FLAGS}\n12|Usual Suspects, The|||http://x|1"
    + "|0" * 18
    + "\n",
    "u.user": "1|24|M|writer|85711\n2|53|F|other|94043\n",
}
GROUPLENS_1M = {
    "ratings.dat": "2::12::3::20\n1::12::5::10\n1::1::4::10\n",
    "movies.dat": "1::Toy Story (1995)::Animation|Comedy\n12::Misérables, Les (1995)::Drama\n",
    "users.dat": "1::M::1::20::48067\n2::F::56::0::70072\n",
}
CHRONOLOGICAL = {
    "interactions_chrono.csv": "user_id,movie_id,seq,label_ge4,rating,timestamp\n"
    "1,12,0,1,5,978300019\n1,1,1,1,4,978300019\n"
    "2,12,0,0,,\n2,1,1,1,,\n",
    "movies.dat": GROUPLENS_1M["movies.dat"],
    "users.dat": GROUPLENS_1M["users.dat"],
}
LAYOUTS = {"recbole": RECBOLE, "100k": GROUPLENS_100K, "1m": GROUPLENS_1M, "chronological": CHRONOLOGICAL}


def write(folder: Path, files: dict[str, str], zipped: bool = False) -> Path:
    for name, text in files.items():
        content = text.encode("latin-1" if name in ("u.item", "movies.dat") else "utf-8")
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


def rated(user: str, item: str, stars: float, seconds: int) -> Interaction:
    return Interaction(user, item, stars, "rate", datetime.fromtimestamp(seconds, UTC))


@pytest.mark.parametrize("layout", ["recbole", "100k", "1m"])
def test_interactions_come_in_order_of_time_then_user_then_item(tmp_path: Path, layout: str) -> None:
    dataset = data.load(write(tmp_path, LAYOUTS[layout]))
    assert dataset.interactions == (rated("1", "1", 4, 10), rated("1", "12", 5, 10), rated("2", "12", 3, 20))
    assert dataset.undated == 0


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_gzipped_layout_is_the_same_data_set(tmp_path: Path, layout: str) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "gz").mkdir()
    plain = data.load(write(tmp_path / "plain", LAYOUTS[layout]))
    zipped = data.load(write(tmp_path / "gz", LAYOUTS[layout], zipped=True))
    assert (zipped.interactions, zipped.items, zipped.users) == (plain.interactions, plain.items, plain.users)
    assert zipped.sha256 == plain.sha256


def test_recbole_items_and_users(tmp_path: Path) -> None:
    dataset = data.load(write(tmp_path, RECBOLE))
    assert dataset.items == (
        ItemFacts("1", "Toy Story", ("Animation", "Comedy"), 1995),
        ItemFacts("12", "The Usual Suspects", (), 0),
    )
    assert dataset.users == (UserProfile("1", 24, "M", "writer"), UserProfile("2", 53, "F", "other"))


def test_grouplens_100k_takes_the_year_out_of_the_title_and_genres_out_of_flags(tmp_path: Path) -> None:
    dataset = data.load(write(tmp_path, GROUPLENS_100K))
    assert dataset.items == (
        ItemFacts("1", "Toy Story", ("Animation", "Comedy"), 1995),
        ItemFacts("12", "The Usual Suspects", (), 0),
    )


def test_grouplens_1m_is_latin_1_and_names_occupations(tmp_path: Path) -> None:
    dataset = data.load(write(tmp_path, GROUPLENS_1M))
    assert dataset.items[1] == ItemFacts("12", "Les Misérables", ("Drama",), 1995)
    assert dataset.users == (UserProfile("1", 1, "M", "writer"), UserProfile("2", 56, "F", "other"))


def test_undated_interactions_keep_their_users_order(tmp_path: Path) -> None:
    dataset = data.load(write(tmp_path, CHRONOLOGICAL))
    assert dataset.undated == 2
    second = [each for each in dataset.interactions if each.user_id == "2"]
    assert [(each.item_id, each.rating) for each in second] == [("12", 3.0), ("1", 4.0)]
    # Two ratings in one second: the file's order, not the ids'.
    assert [each.item_id for each in dataset.interactions if each.user_id == "1"] == ["12", "1"]


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Toy Story (1995)", ("Toy Story", 1995)),
        ("Land Before Time III: The Great Giving (1995) (V)", ("Land Before Time III: The Great Giving", 1995)),
        ("Two Friends (1986) ", ("Two Friends", 1986)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", 1968)),
        ("Argent, L' (1983)", ("L'Argent", 1983)),
        ("unknown", ("unknown", 0)),
    ],
)
def test_titles(tmp_path: Path, title: str, expected: tuple[str, int]) -> None:
    files = GROUPLENS_1M | {"movies.dat": f"1::{title}::Drama\n12::Other (1990)::Drama\n"}
    item = data.load(write(tmp_path, files)).items[0]
    assert (item.title, item.year) == expected


@pytest.mark.parametrize(
    ("layout", "file", "text", "message"),
    [
        ("recbole", "ml.inter", "header\n1\t1\t4\n", "ml.inter line 2: expected 4 fields, received 3"),
        ("100k", "u.data", "1\t1\tfour\t10\n", "u.data line 1 field 3: expected a number, received 'four'"),
        ("100k", "u.user", "1|24|M\n", "u.user line 1: expected 5 fields, received 3"),
        ("1m", "users.dat", "1::M::25::21::1\n", "users.dat line 1: occupation must be 0 to 20, received 21"),
        ("1m", "ratings.dat", "", "ratings.dat holds no interactions"),
        ("1m", "ratings.dat", "1::7::3::20\n", "ratings.dat names item '7', which movies.dat does not hold"),
        ("1m", "ratings.dat", "9::1::3::20\n", "ratings.dat names user '9', which users.dat does not hold"),
        ("chronological", "interactions_chrono.csv", "a,b\n", "line 1: expected user_id,movie_id"),
        (
            "chronological",
            "interactions_chrono.csv",
            "user_id,movie_id,seq,label_ge4,rating,timestamp\n1,1,0,yes,,\n",
            "interactions_chrono.csv line 2: label_ge4 must be 0 or 1, received 'yes'",
        ),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, layout: str, file: str, text: str, message: str) -> None:
    write(tmp_path, LAYOUTS[layout] | {file: text})
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        data.load(tmp_path)


def test_an_unknown_folder_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    (tmp_path / "ratings.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"u\.data, u\.item, u\.user.*found ratings\.parquet"):
        data.load(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not a folder"):
        data.load(tmp_path / "nowhere")


def test_a_truncated_gzip_is_named(tmp_path: Path) -> None:
    write(tmp_path, GROUPLENS_1M, zipped=True)
    file = tmp_path / "ratings.dat.gz"
    file.write_bytes(file.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"ratings\.dat\.gz: not a whole gzip file"):
        data.load(tmp_path)


@pytest.fixture
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index, with a wheel of the three files."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    with zipfile.ZipFile(folder / f"recbole-{data.RECBOLE_VERSION}-py3-none-any.whl", "w") as wheel:
        for name, text in RECBOLE.items():
            wheel.writestr(f"recbole/dataset_example/ml-100k/{name.replace('ml.', 'ml-100k.')}", text)
        wheel.writestr(
            f"recbole-{data.RECBOLE_VERSION}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: recbole\nVersion: {data.RECBOLE_VERSION}\n",
        )
        wheel.writestr(f"recbole-{data.RECBOLE_VERSION}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"recbole-{data.RECBOLE_VERSION}.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_movielens_100k_comes_out_of_the_wheel_once(
    tmp_path: Path, wheelhouse: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {
        name.replace("ml.", "ml-100k."): hashlib.sha256(text.encode()).hexdigest() for name, text in RECBOLE.items()
    }
    monkeypatch.setattr(data, "RECBOLE_FILES", expected)
    folder = data.fetch_movielens_100k(tmp_path / "cache")
    assert sorted(file.name for file in folder.iterdir()) == sorted(expected)
    assert len(data.load(folder).interactions) == 3

    next(wheelhouse.iterdir()).unlink()
    assert data.fetch_movielens_100k(tmp_path / "cache") == folder


def test_a_wheel_with_other_content_is_refused(tmp_path: Path, wheelhouse: Path) -> None:
    with pytest.raises(DataError, match=r"ml-100k\.inter in recbole-.* is not the expected file"):
        data.fetch_movielens_100k(tmp_path / "cache")
    assert not (tmp_path / "cache" / "ml-100k").exists()


def test_offline_is_said_in_one_line(tmp_path: Path, wheelhouse: Path) -> None:
    next(wheelhouse.iterdir()).unlink()
    with pytest.raises(DataError, match=r"could not download recbole==.*; go online once, or give a folder") as error:
        data.fetch_movielens_100k(tmp_path / "cache")
    assert "\n" not in str(error.value)


def test_an_index_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("pip", data.DOWNLOAD_SECONDS)

    monkeypatch.setattr(subprocess, "run", never)
    with pytest.raises(DataError, match="no answer from the package index"):
        data.fetch_movielens_100k(tmp_path)
