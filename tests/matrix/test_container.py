"""The same in a container, with the docker engine of each distribution."""

from tests.faults.playbook import Variables
from tests.hosts import images, lab
from tests.matrix.column import VERIFY, Column
from tests.resilience import fallback

NAME, PORT = "boxed", 11830


def test_container_on_the_engine_of_the_host(column: Column) -> None:
    """The engine is installed where there is none; a second run changes nothing."""
    image = images.mainline() if column.own_binary else images.nginx()
    settings: Variables = {
        "grpc_proxy_name": NAME,
        "grpc_proxy_listen": [{"port": PORT}],
        "grpc_proxy_install": "container",
        "grpc_proxy_container_image": image,
        "grpc_proxy_container_pull": "never",
        **fallback.SETTINGS,
    }
    # There is no engine yet that could have the image.
    failure = column.play(settings).failure()
    assert f"the nginx of {image} cannot be a gRPC proxy" in failure.message
    lab.load(column.machine.container, image)
    assert column.play(settings).changed() > 0
    assert column.play(settings).changed() == 0
    assert column.play(settings, VERIFY).changed() == 0
    faults = {code: fallback.faults(column.target(PORT), code) for code in fallback.EACH.values()}
    assert {code: one for code, one in faults.items() if one} == {}
