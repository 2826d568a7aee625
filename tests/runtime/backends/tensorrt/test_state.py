"""The state folder: made for its owner alone, and refused by name wherever somebody else could have been at it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cmc_sdk.errors import InputError, ResourceError
from cmc_sdk.runtime.backends.tensorrt.state import StateFolder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    path = tmp_path / "state"
    with StateFolder(path, create=True) as folder, folder.write("thing") as handle:
        handle.write(b"content")
    return path


def test_it_is_made_for_its_owner_alone_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        with StateFolder(tmp_path / "state", create=True) as folder, folder.write("thing") as handle:
            handle.write(b"content")
    finally:
        os.umask(old)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert modes == {"key": 0o600, "thing": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert len((tmp_path / "state" / "key").read_bytes()) == 32


def test_its_key_is_its_own_and_stays(tmp_path, state):
    with StateFolder(state) as first, StateFolder(state, create=True) as again:
        assert first.mac("thing", b"a") == again.mac("thing", b"a") != first.mac("other", b"a")
        assert first.same_mac(first.mac("thing", b"a"), domain="thing", data=b"a")
    with StateFolder(state) as first, StateFolder(tmp_path / "second", create=True) as second:
        assert not second.same_mac(first.mac("thing", b"a"), domain="thing", data=b"a")


def test_what_is_written_is_read_and_a_failed_write_leaves_nothing(state):
    with StateFolder(state) as folder:
        assert folder.read("thing", limit=7) == b"content"
        write = folder.write("thing")
        write.__enter__().write(b"half")
        assert not write.__exit__(RuntimeError, RuntimeError(), None)
        assert folder.read("thing", limit=100) == b"content"
        assert sorted(os.listdir(state)) == ["key", "thing"]
        with pytest.raises(FileNotFoundError):
            folder.read("absent", limit=1)


def test_what_a_killed_process_left_is_cleared(state):
    program = (
        "import os, sys\n"
        "from cmc_sdk.runtime.backends.tensorrt.state import StateFolder\n"
        "with StateFolder(sys.argv[1]) as folder, folder.write('thing') as handle:\n"
        "    handle.write(b'half'); handle.flush(); os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(state)], check=False)
    assert len(os.listdir(state)) == 3
    with StateFolder(state) as folder:
        assert folder.read("thing", limit=100) == b"content"
        # It may still be at work, for all that is known.
        with folder.lock():
            assert len(os.listdir(state)) == 3
        (left,) = state.glob(".partial-*")
        os.utime(left, (0, 0))
        with folder.lock():
            assert sorted(os.listdir(state)) == ["key", "thing"]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755, 0o710, 0o702])
def test_a_folder_that_others_may_enter_is_refused(state, mode):
    state.chmod(mode)
    with pytest.raises(InputError, match="by others") as caught:
        StateFolder(state)
    assert f"chmod 700 {state}" in caught.value.mend


def test_a_link_is_refused(tmp_path, state):
    (tmp_path / "link").symlink_to(state)
    with pytest.raises(InputError, match="is a link"):
        StateFolder(tmp_path / "link")
    with pytest.raises(InputError, match="is a link"):
        StateFolder(tmp_path / "link", create=True)


def test_somebody_elses_folder_is_refused(state, monkeypatch):
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(InputError, match=f"belongs to user {owner}"):
        StateFolder(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", ["key", "thing"])
def test_somebody_elses_file_is_refused(state, name):
    os.chown(state / name, 12345, 12345)
    with pytest.raises(InputError, match=f"{name} belongs to user 12345"), StateFolder(state) as folder:
        folder.read(name, limit=100)


@pytest.mark.parametrize("name", ["key", "thing"])
@pytest.mark.parametrize("how", ["link", "hard link", "pipe", "open", "folder", "long"])
def test_a_file_that_is_not_what_was_written_is_refused(tmp_path, state, name, how):
    path, kept = state / name, (state / name).read_bytes()
    if how in ("link", "hard link", "pipe", "folder"):
        path.unlink()
    other = tmp_path / "elsewhere"
    other.write_bytes(kept)
    other.chmod(0o600)
    if how == "link":
        path.symlink_to(other)
    elif how == "hard link":
        os.link(other, path)
    elif how == "pipe":
        os.mkfifo(path, 0o600)
    elif how == "folder":
        path.mkdir(0o700)
    elif how == "open":
        path.chmod(0o644)
    else:
        path.write_bytes(kept + bytes(100))
    with pytest.raises(InputError, match=name) as caught, StateFolder(state) as folder:
        folder.read(name, limit=len(kept))
    assert caught.value.mend


def test_folders_that_are_none_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        StateFolder(tmp_path / "absent")
    with pytest.raises(InputError, match="its folder does not exist"):
        StateFolder(tmp_path / "absent" / "state", create=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be opened"):
        StateFolder(tmp_path / "file", create=True)
    (tmp_path / "mine").mkdir(mode=0o700)
    with pytest.raises(InputError, match="holds no key"):
        StateFolder(tmp_path / "mine")
    (tmp_path / "mine" / "letter.txt").write_text("")
    with pytest.raises(InputError, match="holds files, but no key"):
        StateFolder(tmp_path / "mine", create=True)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_a_system_without_owners_is_refused(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "geteuid")
    with pytest.raises(ResourceError, match="cannot be checked"):
        StateFolder(tmp_path / "state", create=True)
    assert not (tmp_path / "state").exists()


def test_many_processes_make_one_key(tmp_path):
    program = (
        "import sys\n"
        "from cmc_sdk.runtime.backends.tensorrt.state import StateFolder\n"
        "with StateFolder(sys.argv[1], create=True) as folder: print(folder.mac('a', b'b'))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "state")]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    macs = {child.communicate()[0] for child in children}
    assert len(macs) == 1
    assert macs != {""}
