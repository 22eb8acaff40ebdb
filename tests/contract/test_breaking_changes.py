"""proto/baseline.binpb is what has been promised; `buf breaking` holds the contracts to it, and is seen to do so."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROTO = Path(__file__).parents[2] / "proto"
BUF = shutil.which("buf", path=str(Path(sys.executable).parent)) or shutil.which("buf")


def breaking(folder: Path) -> subprocess.CompletedProcess[str]:
    assert BUF, "buf is missing: pip install buf-bin"
    command = [BUF, "breaking", "--against", str(PROTO / "baseline.binpb")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=50, check=False)


def test_contracts_keep_what_the_baseline_promised():
    result = breaking(PROTO)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "promised", "broken", "complaint"),
    [
        ("behaviour/v1/events.proto", "string item_id = 3;", "int64 item_id = 3;", "changed type"),
        ("behaviour/v1/events.proto", "float rating = 7;", "float rating = 8;", 'Previously present field "7"'),
        ("catalogue/v1/catalogue.proto", "bool retired = 2;", "", 'Previously present field "2"'),
        ("behaviour/v1/events.proto", "ACTION_LIKE = 3;", "ACTION_LOVE = 3;", "changed name"),
    ],
    ids=["another type", "another number", "a field removed", "a value renamed"],
)
def test_broken_contract_is_refused(tmp_path, file, promised, broken, complaint):
    copy = tmp_path / "proto"
    shutil.copytree(PROTO, copy)
    path = copy / "casebook" / file
    assert promised in path.read_text()
    path.write_text(path.read_text().replace(promised, broken))

    result = breaking(copy)

    assert result.returncode != 0
    assert complaint in result.stdout
