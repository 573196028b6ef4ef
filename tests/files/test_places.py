"""Output places are tried, and what is wrong with them is said."""

import os

import pytest

from fcclip.files.places import require_writable_file, require_writable_folder

needs_limits = pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")


def test_folders_are_made_and_left_empty(tmp_path):
    folder = require_writable_folder(tmp_path / "a" / "b")
    assert folder.is_dir()
    assert list(folder.iterdir()) == []
    path = tmp_path / "c" / "results.json"
    assert require_writable_file(path) == path
    assert not path.exists()


def test_a_place_below_a_file_or_at_a_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"nothing can be written to the folder .*file/below \(Not a directory"):
        require_writable_folder(tmp_path / "file" / "below")
    with pytest.raises(ValueError, match=r"nothing can be written to the folder .*file \(File exists"):
        require_writable_file(tmp_path / "file" / "results.json")
    with pytest.raises(ValueError, match="is a folder; name the file"):
        require_writable_file(tmp_path)


@needs_limits
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        require_writable_folder(tmp_path)
