"""Real SkyWalking agents as processes of this machine, reporting to any address."""

from tests.hosts.agents.java import JavaReport, prepare_java, run_java
from tests.hosts.agents.node import NodeReport, prepare_node, run_node
from tests.hosts.agents.python import PythonReport, run_python

__all__ = [
    "JavaReport",
    "NodeReport",
    "PythonReport",
    "prepare_java",
    "prepare_node",
    "run_java",
    "run_node",
    "run_python",
]
