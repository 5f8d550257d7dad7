"""What git says of files: committed as they are, changed, new, ignored, or nothing at all."""

import subprocess

import pytest

from replication.reference.git import GitError, committed, git, uncommitted


@pytest.fixture
def checkout(tmp_path):
    def run(*words):
        options = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *options, *words], cwd=tmp_path, check=True, capture_output=True)

    run("init", "--quiet")
    (tmp_path / ".gitignore").write_text("/results/\n")
    for name in ("a", "b"):
        (tmp_path / name).write_text("1")
    run("add", ".")
    run("-c", "commit.gpgsign=false", "commit", "--quiet", "--message", "x")
    return tmp_path, run


def test_a_clean_checkout(checkout):
    home, _ = checkout
    (home / "results").mkdir()
    (home / "results/x").write_text("ignored")
    assert uncommitted(home) == [] and committed(home / "a")
    assert len(git(home, "rev-parse", "HEAD")) == 40


def test_what_is_changed_staged_or_new_is_not_committed(checkout):
    home, run = checkout
    (home / "a").write_text("2")
    (home / "b").write_text("2")
    run("add", "b")
    (home / "c").write_text("new")
    assert sorted(uncommitted(home)) == ["a", "b", "c"]
    assert not any(committed(home / name) for name in ("a", "b", "c"))


def test_an_ignored_file_is_not_committed(checkout):
    home, _ = checkout
    (home / "results").mkdir()
    (home / "results/x").write_text("ignored")
    assert not committed(home / "results/x")


def test_outside_a_checkout_or_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(GitError, match="not a git repository"):
        uncommitted(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GitError, match="git: No such file"):
        git(tmp_path, "status")
