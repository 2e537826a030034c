"""Real SkyWalking agents as processes of this machine, reporting to any address."""

from tests.hosts.agents.java import JavaReport, run_java
from tests.hosts.agents.python import PythonReport, run_python

__all__ = ["JavaReport", "PythonReport", "run_java", "run_python"]
