"""Accounting to a file, where the file system does not do as it should."""

import json
import os
import subprocess

import pytest

from mp.deliver import Deliver


def record(number, size=0):
    return {"call_id": "call-%d" % number, "record_id": "r%d" % number, "padding": "x" * size}


def make_deliver(folder, path):
    return Deliver(folder, "file", {"File": {"path": path}})


@pytest.fixture
def tiny(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "mp-tiny", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def lines_of(path):
    with open(path) as file:
        return [json.loads(line)["call_id"] for line in file]


@pytest.mark.root  # to mount a file system
def test_a_full_disk_loses_no_record_and_leaves_no_half_line(tmp_path, tiny):
    path = tiny / "accounting.json"
    deliver = make_deliver(tmp_path, path).start()
    try:
        assert deliver.answer(record(0, 30000)) == ["done"]
        size = os.path.getsize(path)
        assert deliver.answer(record(1, 30000), record(2, 30000)) == [
            "later", "later", "down cannot write to %s: No space left on device" % path]
        assert os.path.getsize(path) == size
        assert deliver.answer(record(1, 10000)) == ["done"]
        os.truncate(path, 0)
        assert deliver.answer(record(1, 30000)) == ["done"]
        assert deliver.answer(record(2, 20000)) == ["done"]
        assert lines_of(path) == ["call-1", "call-2"]
    finally:
        deliver.stop()


def test_a_file_that_logrotate_moved_is_made_again(tmp_path):
    deliver = make_deliver(tmp_path, "accounting.json").start()
    path = os.path.join(deliver.state_dir, "accounting.json")
    try:
        assert deliver.answer(record(0)) == ["done"]
        os.rename(path, path + ".old")
        assert deliver.answer(record(1), record(2)) == ["done", "done"]
        assert lines_of(path + ".old") == ["call-0"]
        assert lines_of(path) == ["call-1", "call-2"]
    finally:
        deliver.stop()


def test_a_killed_writer_goes_on_on_a_line_of_its_own(tmp_path):
    deliver = make_deliver(tmp_path, "accounting.json").start()
    path = os.path.join(deliver.state_dir, "accounting.json")
    assert deliver.answer(record(0)) == ["done"]
    deliver.kill()
    with open(path, "a") as file:
        file.write('{"call_id": "half')
    deliver.start()
    try:
        assert deliver.answer(record(1)) == ["done"]
    finally:
        deliver.stop()
    with open(path) as file:
        lines = file.read().split("\n")
    assert json.loads(lines[0])["call_id"] == "call-0"
    assert lines[1] == '{"call_id": "half'
    assert json.loads(lines[2])["call_id"] == "call-1"
    assert lines[3:] == [""]


def test_a_folder_that_is_not_there_is_refused_in_one_line(tmp_path):
    assert "there is no folder" in make_deliver(tmp_path, "gone/accounting.json").start().why_not()
