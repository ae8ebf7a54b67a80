"""`agentflow backup` and `restore`: what comes back is what was saved, or nothing is written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import random
import shutil
import tarfile
from pathlib import Path

import pytest

from agentflow.cli import main
from agentflow.core.errors import InputError
from agentflow.ops.archive import MANIFEST
from agentflow.ops.backup import back_up, restore
from tests.ops.moto_server import REGION, Client, aws

__all__ = ["aws"]  # a fixture

PROMPT = "  s:\n    agent: {name: a}\n    prompt_template: Hi\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a workflow beside config/, and one that is a step of it."""
    folder = tmp_path / "project"
    for name, text in {
        "config/deployment_config.yaml": "workflows: [../flows/outer.yaml]\n",
        "config/agent_config.yaml": "name: größer\n",
        "config/.env": "AWS_SECRET_ACCESS_KEY=planted\n",
        "config/notes/read.me": "",
        "flows/outer.yaml": "name: outer\nsteps:\n  i:\n    workflow: parts/inner.yaml\n",
        "flows/parts/inner.yaml": f"name: inner\nsteps:\n{PROMPT}",
        "flows/unused.yaml": "name: unused\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(folder)
    return folder


SAVED = {
    *("config/deployment_config.yaml", "config/agent_config.yaml", "config/notes/read.me"),
    *("flows/outer.yaml", "flows/parts/inner.yaml"),
}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def archive_of(files: dict[str, bytes], listed: dict[str, bytes] | None = None) -> bytes:
    """Return an archive with a manifest of other files, where others are given."""
    entries = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        for name, content in (files if listed is None else listed).items()
    }
    manifest = {"format": 1, "created": "now", "agentflow": "1", "files": entries}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in {MANIFEST: json.dumps(manifest).encode(), **files}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_what_is_restored_is_what_was_saved(project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    before = contents(project)
    assert main(["backup", "../saved.tar.gz"]) == 0
    told = capsys.readouterr().out
    assert "5 files" in told
    assert hashlib.sha256((tmp_path / "saved.tar.gz").read_bytes()).hexdigest() in told
    assert "config/.env" in told  # which is left out
    assert main(["restore", "../saved.tar.gz", "--into", "../fresh"]) == 0
    assert contents(tmp_path / "fresh") == {name: before[name] for name in SAVED}
    assert b"planted" not in gzip.decompress((tmp_path / "saved.tar.gz").read_bytes())
    shutil.rmtree(project / "config")
    assert main(["restore", "../saved.tar.gz"]) == 0
    assert "3 new, 2 unchanged, 0 replaced" in capsys.readouterr().out


def test_an_edited_file_is_replaced_and_kept(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backup", "../saved.tar.gz"]) == 0
    edited = project / "config/agent_config.yaml"
    for number in (1, 2):
        edited.write_text(f"name: edit-{number}\n")
        assert main(["restore", "../saved.tar.gz"]) == 0
        assert edited.read_text() == "name: größer\n"
    assert "is now config/agent_config.yaml.before-restore-2" in capsys.readouterr().out
    assert (project / "config/agent_config.yaml.before-restore").read_text() == "name: edit-1\n"
    assert (project / "config/agent_config.yaml.before-restore-2").read_text() == "name: edit-2\n"


def test_a_backup_goes_to_s3_and_comes_back(
    project: Path, aws: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    s3 = aws("s3")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.meta.endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", REGION)
    s3.create_bucket(Bucket="backups")
    assert main(["backup", "s3://backups/nightly/one.tar.gz"]) == 0
    assert main(["restore", "s3://backups/nightly/one.tar.gz", "--into", str(tmp_path / "fresh")]) == 0
    assert contents(tmp_path / "fresh").keys() == SAVED
    assert main(["backup", "s3://backups"]) == 0  # as the runbook's `aws s3 cp ... s3://your-backup-bucket/`
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket="backups")["Contents"]]
    assert any(key.startswith("agentflow-config-") for key in keys)
    capsys.readouterr()

    assert main(["backup", "s3://backups/nightly/one.tar.gz"]) == 1
    assert "never overwritten" in capsys.readouterr().err
    damaged = bytearray(s3.get_object(Bucket="backups", Key="nightly/one.tar.gz")["Body"].read())
    damaged[len(damaged) // 2] ^= 1
    s3.put_object(Bucket="backups", Key="damaged.tar.gz", Body=bytes(damaged))
    assert main(["restore", "s3://backups/damaged.tar.gz", "--into", str(tmp_path / "none")]) == 1
    assert "s3://backups/damaged.tar.gz is no archive that can be used" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    for place in ("s3://backups/absent.tar.gz", "s3://no-such-bucket/x.tar.gz"):
        assert main(["restore", place, "--into", str(tmp_path / "none")]) == 1
        assert f"{place} cannot be used" in capsys.readouterr().err


def test_no_damage_passes(project: Path, tmp_path: Path) -> None:
    back_up("../saved.tar.gz", Path("config/deployment_config.yaml"))
    saved = (tmp_path / "saved.tar.gz").read_bytes()
    plain = bytearray(gzip.decompress(saved))
    whole = contents(project)
    chance = random.Random(5)
    refused = 0
    for number in range(200):
        damaged = plain.copy()
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)  # under the checksum of gzip
        path = tmp_path / "damaged.tar.gz"
        path.write_bytes(gzip.compress(damaged, compresslevel=1))
        try:
            restored = restore(str(path), tmp_path / "out")
        except InputError:
            refused += 1
            assert not (tmp_path / "out").exists(), number
        else:  # a bit that means nothing, such as one of the padding
            assert contents(restored.into) == {name: whole[name] for name in SAVED}, number
            shutil.rmtree(restored.into)
    assert refused > 50


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_file_that_ends_early_is_refused(length: int, project: Path, tmp_path: Path) -> None:
    back_up("../saved.tar.gz", Path("config/deployment_config.yaml"))
    (tmp_path / "cut.tar.gz").write_bytes((tmp_path / "saved.tar.gz").read_bytes()[:length])
    with pytest.raises(InputError, match=r"cut\.tar\.gz is no archive that can be used"):
        restore(str(tmp_path / "cut.tar.gz"), tmp_path / "out")


@pytest.mark.parametrize(
    ("files", "listed", "says"),
    [
        ({"../evil": b"x"}, None, "'../evil', which is no plain file inside of it"),
        ({"/etc/evil": b"x"}, None, "no plain file"),
        ({"a/../../evil": b"x"}, None, "no plain file"),
        ({"a\\..\\evil": b"x"}, None, "no plain file"),
        ({"C:evil": b"x"}, None, "no plain file"),
        ({"a\nb": b"x"}, None, r"'a\\nb'"),
        ({"a": b"x", "b": b"y"}, {"a": b"x"}, "differ: b"),
        ({"a": b"x"}, {"a": b"x", "b": b"y"}, "differ: b"),
        ({"a": b"x"}, {"a": b"y"}, "a is not what its checksum says"),
    ],
)
def test_an_archive_that_is_made_up_is_refused(
    files: dict[str, bytes], listed: dict[str, bytes] | None, says: str, tmp_path: Path
) -> None:
    (tmp_path / "made.tar.gz").write_bytes(archive_of(files, listed))
    with pytest.raises(InputError, match=says):
        restore(str(tmp_path / "made.tar.gz"), tmp_path / "out" / "deep")
    assert not (tmp_path / "out").exists()


def test_links_and_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        link = tarfile.TarInfo("config")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        tar.addfile(link)
    (tmp_path / "link.tar.gz").write_bytes(packed.getvalue())
    with pytest.raises(InputError, match="'config', which is no plain file"):
        restore(str(tmp_path / "link.tar.gz"), tmp_path / "out")
    monkeypatch.setattr("agentflow.ops.archive.MOST_BYTES", 100_000)
    (tmp_path / "bomb.tar.gz").write_bytes(gzip.compress(bytes(10_000_000)))
    with pytest.raises(InputError, match="larger than any archive"):
        restore(str(tmp_path / "bomb.tar.gz"), tmp_path / "out")


def test_headers_that_lie_about_sizes_are_refused(tmp_path: Path) -> None:
    huge = tarfile.TarInfo("config/a")
    huge.size = 2**70
    sparse = tarfile.TarInfo("config/a")
    sparse.pax_headers = {"GNU.sparse.map": "0,0", "GNU.sparse.size": str(2**40)}  # zeros that no byte stands for
    for header in (huge.tobuf(tarfile.GNU_FORMAT), sparse.tobuf(tarfile.PAX_FORMAT)):
        (tmp_path / "lies.tar.gz").write_bytes(gzip.compress(header + bytes(1024)))
        with pytest.raises(InputError, match="is no archive that can be used"):
            restore(str(tmp_path / "lies.tar.gz"), tmp_path / "out")


def test_a_link_in_the_folder_leads_nowhere(project: Path, tmp_path: Path) -> None:
    back_up("../saved.tar.gz", Path("config/deployment_config.yaml"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/config").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="would not be written into"):
        restore(str(tmp_path / "saved.tar.gz"), tmp_path / "out")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["backup", "../twice.tar.gz"], "is there already, and archives are never overwritten"),
        (["backup", "config/x.tar.gz"], "would be a part of the next backup"),
        (["backup", "../x.tar.gz", "--config", "nowhere/deployment_config.yaml"], "There is nothing to save in"),
        (["backup", "../x.tar.gz", "--workflow", "absent.yaml"], "absent.yaml cannot be read"),
        (["restore", "../absent.tar.gz"], "../absent.tar.gz cannot be read: No such file"),
        (["restore", "config"], "config cannot be read: Is a directory"),
        (["restore", "flows/outer.yaml"], "is no archive that can be used"),
        (["restore", "s3://"], "is no place on S3"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], says: str, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "twice.tar.gz").write_bytes(b"")
    assert main(arguments) == 1
    assert says in capsys.readouterr().err
    assert (tmp_path / "twice.tar.gz").read_bytes() == b""


def test_without_a_deployment_the_folder_is_saved_and_tar_can_unpack_it(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "config/deployment_config.yaml").unlink()
    (tmp_path / "backups").mkdir()
    assert main(["backup", "../backups", "--workflow", "flows/unused.yaml"]) == 0
    [path] = (tmp_path / "backups").iterdir()
    assert path.name.startswith("agentflow-config-")
    with tarfile.open(path) as tar:
        names = set(tar.getnames())
    assert names == {MANIFEST, "config/agent_config.yaml", "config/notes/read.me", "flows/unused.yaml"}
