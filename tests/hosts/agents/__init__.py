"""Real SkyWalking agents as processes of this machine, reporting to any address."""

from tests.hosts.agents.java import JavaReport, prepare_java, run_java
from tests.hosts.agents.python import PythonReport, run_python

__all__ = ["JavaReport", "PythonReport", "prepare_java", "run_java", "run_python"]
