"""What apt would offer: what it is asked, and what is made of its answers. apt is a stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.apt import Offer, Repository

REPOSITORY = Repository("https://mirror.example/nginx", "bookworm", "nginx", "a key\n")
MADISON = """\
     nginx | 1.30.4-1~bookworm | https://mirror.example/nginx bookworm/nginx amd64 Packages
     nginx | 1.30.3-1~bookworm | https://mirror.example/nginx bookworm/nginx amd64 Packages
     nginx | 1.30.3-1~bookworm | https://mirror.example/nginx bookworm/nginx i386 Packages
"""
POLICY = "nginx:\n  Installed: (none)\n  Candidate: {}\n  Version table:\n"
VERSIONS = ["1.30.4-1~bookworm", "1.30.3-1~bookworm"]
Answer = tuple[int, str, str]


class Apt:
    """Answers by the word that says what is asked, and keeps what it could read meanwhile."""

    def __init__(self, **answers: Answer) -> None:
        self.answers: dict[str, Answer] = {
            "update": (0, "", ""),
            "madison": (0, MADISON, ""),
            "policy": (0, POLICY.format(VERSIONS[0]), ""),
            "indextargets": (0, "", ""),
            **answers,
        }
        self.options: dict[str, dict[str, str]] = {}
        self.sources: dict[str, dict[str, str]] = {}
        self.key = ""

    def __call__(self, command: list[str]) -> Answer:
        """Run nothing."""
        asked = next(word for word in command if word in self.answers)
        pairs = zip(command, command[1:])
        given = dict(value.split("=", 1) for option, value in pairs if option == "--option")
        self.options[asked] = given
        parts = Path(given["Dir::Etc::SourceParts"])
        self.sources[asked] = {path.name: path.read_text() for path in parts.iterdir()}
        key = parts.parent / "key.asc"
        self.key = key.read_text() if key.exists() else self.key
        assert parts.parent.stat().st_mode & 0o777 == 0o755
        return self.answers[asked]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host's sources."""
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/mine.list").write_text("deb mine\n")
    (tmp_path / "sources.list.d/ours.sources").write_text("URIs: ours\n")
    return tmp_path


def offer(apt: Apt, root: Path, repository: Repository | None = REPOSITORY) -> dict[str, Any]:
    """Ask for nginx, the role's own source left out."""
    found = Offer(apt, str(root)).of(
        "nginx", repository, [str(root / "sources.list.d/ours.sources")]
    )
    place = Path(apt.options["update"]["Dir::State::Lists"]).parent
    assert not place.exists()
    assert all(str(place) in one["Dir::Etc::SourceParts"] for one in apt.options.values())
    return found


def test_repository(root: Path) -> None:
    """Apt reads that repository alone, with its key alone, and into lists of its own."""
    apt = Apt()
    assert offer(apt, root) == {"versions": VERSIONS, "candidate": VERSIONS[0], "error": ""}
    given = apt.options["update"]
    assert given["Dir::Etc::SourceList"] == "/dev/null"
    assert list(apt.sources["update"]) == ["asked.sources"]
    text = apt.sources["update"]["asked.sources"]
    signed_by = str(Path(given["Dir::Etc::SourceParts"]).parent / "key.asc")
    for line in (
        "Types: deb", "URIs: https://mirror.example/nginx", "Suites: bookworm",
        "Components: nginx", f"Signed-By: {signed_by}",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert apt.key == "a key\n"
    assert given["Acquire::AllowInsecureRepositories"] == "false"
    assert given["APT::Update::Error-Mode"] == "any"
    for asked in ("madison", "policy"):
        assert apt.options[asked].items() <= given.items()


def test_sources_of_the_host(root: Path) -> None:
    """Without a repository it is what the host has, without what is to be left out."""
    apt = Apt()
    assert offer(apt, root, None)["versions"] == VERSIONS
    assert apt.sources["update"] == {"mine.list": "deb mine\n"}
    assert apt.options["update"]["Dir::Etc::SourceList"] == str(root / "sources.list")
    assert "indextargets" not in apt.options


def test_mirror_of_the_host_that_fails_in_part(root: Path) -> None:
    """What the host has is taken for what it offers, though a source of somebody's fails."""
    failed = (100, "", "E: Failed to fetch mine\n")
    assert offer(Apt(update=failed), root, None)["versions"] == VERSIONS
    found = offer(Apt(update=failed, madison=(0, "", "")), root, None)
    assert found == {"versions": [], "candidate": "", "error": "Failed to fetch mine"}


def test_repository_that_apt_refuses(root: Path) -> None:
    """Nothing is asked of it any more, and apt's complaints are one line, each once."""
    words = (
        "W: GPG error: https://mirror.example bookworm InRelease: NO_PUBKEY 01\n"
        "E: The repository\t'x' is not signed.\nE: The repository 'x' is not signed.\nN: More.\n"
    )
    apt = Apt(update=(100, "", words))
    assert offer(apt, root)["error"] == (
        "GPG error: https://mirror.example bookworm InRelease: NO_PUBKEY 01; "
        "The repository 'x' is not signed."
    )
    assert list(apt.options) == ["update"]


@pytest.mark.parametrize(
    ("error", "told"), [("", "apt gives no reason"), ("something\nelse\n", "something else")]
)
def test_refusal_in_other_words(root: Path, error: str, told: str) -> None:
    """What is not written as a complaint is told as it is."""
    assert offer(Apt(update=(1, "", error)), root)["error"] == told


def test_package_that_there_is_not(root: Path) -> None:
    """A repository that can be read and has no such package."""
    found = offer(Apt(madison=(0, "", "")), root)
    assert found == {"versions": [], "candidate": "", "error": "there is no package nginx"}


def test_package_that_the_host_does_not_want(root: Path) -> None:
    """Where the host's preferences allow no version there is no candidate."""
    assert offer(Apt(policy=(0, POLICY.format("(none)"), "")), root)["candidate"] == ""


def test_beside_the_sources_of_the_host(root: Path) -> None:
    """A repository that keeps apt from reading the host's own sources is told."""
    apt = Apt(indextargets=(100, "", "E: Conflicting values set for option Signed-By\n"))
    assert offer(apt, root)["error"] == "Conflicting values set for option Signed-By"
    assert set(apt.sources["indextargets"]) == {"mine.list", "asked.sources"}
    assert "Dir::Etc::SourceList" not in apt.options["indextargets"]
