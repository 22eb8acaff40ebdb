"""Triton's layout, read over fsspec and copied here."""

import fsspec
import pytest

from chassis.errors import FailedPrecondition, NotFound, Unavailable
from inference.repository import Repository
from tests.fixtures.inference import scale_model

MODEL = scale_model(1)


@pytest.fixture
def repository(models, tmp_path):
    return Repository(str(models.path), tmp_path / "cache")


def test_versions_are_ordered_by_number_and_other_folders_are_read_over(models, repository):
    for version in ("10", "9", "1"):
        models.put("ranker", version, MODEL)
    for other in ("0", "01", "draft", ".tmp"):
        models.put("ranker", other, MODEL)
    (models.path / "ranker" / "11").mkdir()
    (models.path / "README.md").write_text("not a model")
    assert repository.scan()["ranker"].versions == ("1", "9", "10")


def test_a_configuration_is_read_with_what_it_has_beyond_ours(models, repository):
    config = """
        name: "ranker"
        backend: "onnxruntime"
        max_batch_size: 8
        version_policy: { all {} }
        model_warmup [ { name: "w" batch_size: 1 } ]
        # not a list [
        parameters [ { key: "note" value { string_value: "top [k]" } } ]
        parameters { key: "companions" value { string_value: "items, users" } }
    """
    models.put("ranker", 1, MODEL, config)
    model = repository.scan()["ranker"]
    assert model.config.max_batch_size == 8
    assert model.companions == ("items", "users")
    assert model.config.parameters["note"].string_value == "top [k]"


def test_without_a_configuration_the_model_speaks_for_itself(models, repository):
    models.put("ranker", 1, MODEL)
    model = repository.scan()["ranker"]
    assert (model.config.name, model.companions, model.initial_stable) == ("ranker", (), "1")


@pytest.mark.parametrize(("configured", "stable"), [("1", "1"), ("7", "2")])
def test_the_first_stable_version_may_be_configured(models, repository, configured, stable):
    models.put("ranker", 1, MODEL)
    models.put("ranker", 2, MODEL, f'parameters {{ key: "initial_stable" value {{ string_value: "{configured}" }} }}')
    assert repository.scan()["ranker"].initial_stable == stable


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ("max_batch_size: many", "config.pbtxt: 1:17"),
        ('name: "other"', "name is 'other' in the folder 'ranker'"),
    ],
)
def test_a_broken_configuration_is_named_when_a_version_is_fetched(models, repository, config, why):
    models.put("ranker", 1, MODEL, config)
    models.put("good", 1, MODEL)
    assert set(repository.scan()) == {"good", "ranker"}
    with pytest.raises(FailedPrecondition, match=why):
        repository.fetch("ranker", "1")


def test_what_there_is_not(models, repository):
    models.put("ranker", 1, MODEL)
    repository.scan()
    with pytest.raises(NotFound, match="ranker"):
        repository.model("tagger")
    with pytest.raises(NotFound, match="the repository has 1"):
        repository.fetch("ranker", "2")


def test_a_fetched_version_stays_as_it_is_when_the_repository_changes(models, repository):
    models.put("ranker", 1, MODEL)
    repository.scan()
    before = repository.fetch("ranker", "1")
    content = before.model_path.read_bytes()
    models.put("ranker", 1, b"other")
    assert before.model_path.read_bytes() == content
    after = repository.fetch("ranker", "1")
    assert after.fingerprint != before.fingerprint
    assert after.model_path.read_bytes() == b"other"
    assert not before.folder.exists()


def test_the_same_files_are_copied_once(models, repository):
    models.put("ranker", 1, MODEL)
    repository.scan()
    first = repository.fetch("ranker", "1")
    inode = first.model_path.stat().st_ino
    second = repository.fetch("ranker", "1")
    assert second.model_path.stat().st_ino == inode
    assert repository.fingerprint("ranker", "1") == first.fingerprint


def test_weights_beside_the_model_come_along(models, repository):
    models.put("ranker", 1, MODEL)
    (models.path / "ranker" / "1" / "weights").mkdir()
    (models.path / "ranker" / "1" / "weights" / "part.bin").write_bytes(b"123")
    repository.scan()
    assert (repository.fetch("ranker", "1").folder / "weights" / "part.bin").read_bytes() == b"123"


def test_any_fsspec_address_will_do(tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/shelf/ranker/1/model.onnx", MODEL.SerializeToString())
    memory.pipe("/shelf/ranker/config.pbtxt", b"max_batch_size: 4")
    repository = Repository("memory://shelf", tmp_path / "cache")
    assert repository.scan()["ranker"].versions == ("1",)
    assert repository.fetch("ranker", "1").model_path.read_bytes() == MODEL.SerializeToString()


def test_a_repository_that_can_not_be_read(tmp_path):
    with pytest.raises(Unavailable, match="nowhere"):
        Repository(str(tmp_path / "nowhere"), tmp_path / "cache").scan()
