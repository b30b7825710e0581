"""Files that commands write, and results that are not there."""

import os
from pathlib import Path

import pytest

import tmeasures as tm
from tmeasures.cli import files
from tmeasures.errors import ArgumentError, ResultError

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def locked(monkeypatch):
    """Locks files and folders, also for those who may write anywhere."""

    def lock(*paths):
        shut = set(map(os.path.realpath, paths))
        monkeypatch.setattr(os, "access", lambda path, mode: os.path.realpath(path) not in shut)

    return lock


def refused(check, path):
    with pytest.raises(ArgumentError, match="no permission, name another place"):
        check(Path(path))


def test_a_result_replaces_a_file_by_a_new_one_in_its_folder(locked):
    Path("kept").mkdir()
    Path("kept/old.nc").touch()
    locked("kept/old.nc")
    assert files.result(Path("kept/old.nc")) == Path("kept/old.nc")
    locked("kept")
    refused(files.result, "kept/old.nc")
    refused(files.result, "kept/new.nc")


def test_a_result_goes_where_a_link_leads(locked):
    Path("kept").mkdir()
    Path("kept/old.nc").touch()
    Path("link.nc").symlink_to("kept/old.nc")
    locked("kept")
    refused(files.result, "link.nc")
    locked(".")
    assert files.result(Path("link.nc")) == Path("link.nc")
    Path("astray.nc").symlink_to("gone/new.nc")
    with pytest.raises(ArgumentError, match=r"there is no folder '.*gone'"):
        files.result(Path("astray.nc"))


def test_a_picture_is_written_into_the_file_that_is_there(locked):
    Path("kept").mkdir()
    Path("kept/old.png").touch()
    locked("kept")
    assert files.picture(Path("kept/old.png")) == Path("kept/old.png")
    refused(files.picture, "kept/new.png")
    locked("kept/old.png")
    refused(files.picture, "kept/old.png")


def test_a_result_in_a_folder_that_cannot_be_listed(monkeypatch):
    Path("turned.nc").touch()
    with pytest.raises(ResultError, match=r"no file 'turend\.nc' .*did you mean 'turned\.nc'"):
        tm.open("turend.nc")

    def listdir(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", listdir)
    with pytest.raises(ResultError, match=r"no file 'turend\.nc' in '[^']*': check the path"):
        tm.open("turend.nc")
