import json

import pytest

from dlsuite.errors import DlsuiteError
from dlsuite.runs.folder import RunFolder, default_path, list_runs, replacing


def test_a_folder_that_holds_something_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DlsuiteError, match=r"new or empty.*nothing is ever overwritten"):
        RunFolder.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_checking_makes_nothing(tmp_path):
    RunFolder(tmp_path / "a" / "b").check_new()
    assert not (tmp_path / "a").exists()


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DlsuiteError, match=r"'.*file' is a file"):
        RunFolder(tmp_path / "file" / "run").check_new()


def test_a_read_only_place_is_refused():
    # the kernel's own file system takes no folders, from root neither
    with pytest.raises(DlsuiteError, match=r"must be writable. Received: '/proc/run'"):
        RunFolder.create("/proc/run")


def test_a_full_disk_keeps_the_old_file():
    # /dev/full accepts a file's opening and refuses every byte
    folder = RunFolder("/dev")
    with pytest.raises(DlsuiteError, match="What was written before is kept"):
        folder.append("full", [{"step": 1}])


def test_a_folder_that_can_not_even_be_looked_at_is_said_in_a_sentence():
    # as on a server that has lost it, where the system refuses to look
    with pytest.raises(DlsuiteError, match=r"must be writable.*File name too long"):
        RunFolder("/tmp/" + 300 * "x").update(status="failed")


def test_replacing_is_all_or_nothing(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")

    def crash():
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_and_csv_of_the_history_agree(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    folder.write_history([{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": None}])
    assert folder.read("history.json")[1]["loss"] is None
    assert (folder.path / "history.csv").read_text() == "epoch,loss\n1,0.5\n2,\n"


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda path: None, "no folder"),
        (lambda path: path.mkdir(), "has none"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, prepare, words):
    prepare(tmp_path / "run")
    with pytest.raises(DlsuiteError, match=words):
        RunFolder.open(tmp_path / "run")


def test_a_damaged_file_is_named(tmp_path):
    folder = RunFolder.create(tmp_path / "run")
    (folder.path / "run.json").write_text("{")
    with pytest.raises(DlsuiteError, match=r"run\.json must be readable"):
        folder.read("run.json")


def test_runs_are_listed_newest_first_and_damaged_ones_do_not_hide_others(tmp_path):
    for name, created in (("a", "2026-01-01"), ("b", "2026-02-01")):
        folder = RunFolder.create(tmp_path / name)
        folder.write("run.json", {"created": created, "status": "finished"})
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "run.json").write_text("{")
    runs = list_runs(tmp_path)
    assert [run.path.name for run in runs] == ["b", "a", "c"]
    assert runs[-1].info["status"] == "damaged"
    json.dumps([dict(run.info) for run in runs])


def test_default_paths_never_collide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_path("mnist-cnn")
    first.mkdir(parents=True)
    second = default_path("mnist-cnn")
    assert first != second and not second.exists()
    assert first.parent.name == "runs" and first.name.startswith("mnist-cnn-")
