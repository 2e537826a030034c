"""What people do with the collection, one thing after the other, with each ansible-core."""

from tests.controllers.conftest import Deployer
from tests.faults.playbook import Variables
from tests.hosts import lab

PLANTED = "planted-where-nobody-may-read-it"
BEFORE: Variables = {"grpc_proxy_token": PLANTED}
AFTER: Variables = {**BEFORE, "grpc_proxy_stream_timeout": "3001s"}
PLACES = ("/etc/nginx", "/etc/systemd/system", "/etc/logrotate.d")


def test_deploys(deployer: Deployer) -> None:
    """The first run deploys, the second has nothing to do, and verify agrees."""
    core = deployer.controller.core
    assert deployer.controller.version().startswith(f"ansible-playbook [core {core}.")
    first = deployer.play("site", BEFORE, "-vvv", "--diff")
    assert first.changed > 0
    assert PLANTED not in first.output
    assert deployer.play("site", BEFORE).changed == 0
    assert deployer.play("verify", BEFORE).changed == 0


def test_check_shows_the_change_and_makes_none(deployer: Deployer) -> None:
    """It is shown as a diff, and what is on the host stays as it was."""
    before = deployer.machine.listing(*PLACES)
    run = deployer.play("site", AFTER, "--check", "--diff", "-vvv")
    assert run.changed == 1
    assert [line for line in run.output.splitlines() if line[:1] == "+" and "3001s" in line]
    assert PLANTED not in run.output
    assert deployer.machine.listing(*PLACES) == before


def test_refuses_what_cannot_be(deployer: Deployer) -> None:
    """In one sentence, and nothing has changed."""
    live = deployer.machine.generation()
    run = deployer.play("site", {**BEFORE, "grpc_proxy_listen": [{"port": 99999}]})
    told = "proxy1: grpc_proxy_listen[0].port is 99999; give a whole number from 1 to 65535."
    assert told in run.refusal
    unknown = deployer.play("site", {**BEFORE, "grpc_proxy_listen": [{"prot": 1}]})
    assert "prot" in unknown.refusal
    assert deployer.machine.generation() == live


def test_changes_and_goes_back(deployer: Deployer) -> None:
    """A change is live, and so is what was before, by the playbook for the night."""
    before = deployer.machine.generation()
    assert deployer.play("site", AFTER).changed == 1
    assert deployer.machine.generation() != before
    assert deployer.play("rollback", AFTER).changed == 1
    assert deployer.machine.generation() == before
    assert before in deployer.play("generations", AFTER).output


def test_moves_to_a_container_and_is_removed(deployer: Deployer, image: str) -> None:
    """The other provider takes over with community.docker as it comes with this ansible-core."""
    contained: Variables = {
        **BEFORE,
        "grpc_proxy_install": "container",
        "grpc_proxy_container_image": image,
        "grpc_proxy_container_pull": "never",
        "grpc_proxy_drain_timeout": "5s",
    }
    # The engine is installed before it can be given the image.
    assert "cannot be a gRPC proxy" in deployer.play("move", contained).refusal
    lab.load(deployer.machine.container, image)
    assert deployer.play("move", contained).changed > 0
    again = deployer.play("site", contained)
    assert again.changed == 0
    assert deployer.play("uninstall", contained).changed > 0
    assert deployer.machine.generation().startswith("no answer")
