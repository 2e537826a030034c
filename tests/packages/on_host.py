"""Makes a repository of nginx.org's shape on a host: ``python3 on_host.py REQUEST``.

It is a stand-in: the nginx in its packages is Debian's own binary, in whose configure arguments
the user has been written that nginx.org builds with. What packages and repository look like to
dpkg and apt is real, and so are the signatures.
"""

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORK = Path("/srv/making")
# As long as the argument that it takes the place of.
TAKEN = re.compile(rb" --http-scgi-temp-path=\S+")
BUILT_FOR = b" --user=nginx --group=nginx"

CONTROL = """\
Package: {name}
Version: {version}
Architecture: {architecture}
Maintainer: The tests <nobody@example.org>
Description: stand-in for a package of nginx.org
{more}"""
OF_NGINX = """\
Depends: {depends}, adduser
Provides: httpd
Conflicts: nginx-common, nginx-core
Replaces: nginx-common, nginx-core
"""
# What debhelper writes for a unit, and the user that nginx.org's package makes.
POSTINST = """\
#!/bin/sh
set -e
if [ "$1" = configure ]; then
    getent group nginx > /dev/null || addgroup --system nginx > /dev/null
    getent passwd nginx > /dev/null || adduser --system --disabled-login --ingroup nginx \\
        --no-create-home --home /nonexistent --gecos nginx --shell /bin/false nginx > /dev/null
fi
deb-systemd-helper unmask nginx.service > /dev/null || true
if deb-systemd-helper --quiet was-enabled nginx.service; then
    deb-systemd-helper enable nginx.service > /dev/null || true
else
    deb-systemd-helper update-state nginx.service > /dev/null || true
fi
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload > /dev/null || true
    deb-systemd-invoke start nginx.service > /dev/null || true
fi
"""
PRERM = """\
#!/bin/sh
set -e
if [ -d /run/systemd/system ] && [ "$1" = remove ]; then
    deb-systemd-invoke stop nginx.service > /dev/null || true
fi
"""
UNIT = """\
[Unit]
Description=nginx - high performance web server

[Service]
Type=forking
PIDFile=/run/nginx.pid
ExecStart=/usr/sbin/nginx -c /etc/nginx/nginx.conf

[Install]
WantedBy=multi-user.target
"""
CONF = """\
user nginx;
pid /run/nginx.pid;
events {}
http { server { listen 80; } }
"""


def run(*command: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    done = subprocess.run(command, cwd=WORK, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.strip()


def binary(package: str) -> tuple[bytes, str]:
    """Return Debian's own nginx with another user in its arguments, and the libraries it needs."""
    if not (WORK / "debian").exists():
        # Once, before apt knows of the repository.
        shutil.rmtree(WORK / "fetched", ignore_errors=True)
        (WORK / "fetched").mkdir()
        subprocess.run(
            ["apt-get", "--quiet", "download", package], cwd=WORK / "fetched", check=True
        )
        (WORK / "fetched").rename(WORK / "debian")
    (deb,) = (WORK / "debian").glob("*.deb")
    run("dpkg-deb", "--extract", str(deb), str(WORK / "debian/tree"))
    needed = run("dpkg-deb", "--field", str(deb), "Depends").split(", ")
    depends = [one for one in needed if one.startswith("lib") and "nginx" not in one]
    data = (WORK / "debian/tree/usr/sbin/nginx").read_bytes()
    changed, times = TAKEN.subn(lambda one: BUILT_FOR.ljust(len(one[0])), data)
    assert (times, len(changed)) == (1, len(data))
    return changed, ", ".join(depends)


def package(
    pool: Path, name: str, version: str, more: str, files: dict[str, tuple[Any, int]]
) -> None:
    """Build one package."""
    tree = WORK / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    architecture = run("dpkg", "--print-architecture")
    control = CONTROL.format(name=name, version=version, architecture=architecture, more=more)
    for path, (content, mode) in {"DEBIAN/control": (control, 0o644), **files}.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        (tree / path).chmod(mode)
    target = pool / f"{name}_{version}_{architecture}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(target))


def packages(root: Path, asked: dict[str, Any]) -> None:
    """Build all packages: nginx in some versions, and one that Debian has as well."""
    pool = root / "pool"
    pool.mkdir(parents=True)
    program, depends = binary(asked["binary"])
    for version in asked["versions"]:
        package(
            pool, "nginx", version, OF_NGINX.format(depends=depends),
            {
                "DEBIAN/conffiles": ("/etc/nginx/nginx.conf\n", 0o644),
                "DEBIAN/postinst": (POSTINST, 0o755),
                "DEBIAN/prerm": (PRERM, 0o755),
                "usr/sbin/nginx": (program, 0o755),
                "lib/systemd/system/nginx.service": (UNIT, 0o644),
                "etc/nginx/nginx.conf": (CONF, 0o644),
            },
        )  # fmt: skip
    package(pool, "logrotate", "99:1", "", {})


def index(root: Path, suite: str) -> None:
    """Write the lists of the repository."""
    architecture = run("dpkg", "--print-architecture")
    text = ""
    for deb in sorted((root / "pool").glob("*.deb")):
        data = deb.read_bytes()
        text += run("dpkg-deb", "--field", str(deb)) + (
            f"\nFilename: pool/{deb.name}\nSize: {len(data)}"
            f"\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
        )
    dist = root / "dists" / suite
    place = f"nginx/binary-{architecture}"
    (dist / place).mkdir(parents=True)
    (dist / place / "Packages").write_text(text)
    (dist / place / "Packages.gz").write_bytes(gzip.compress(text.encode()))
    lines = [
        "Origin: nginx", "Label: nginx", f"Suite: {suite}", f"Codename: {suite}",
        time.strftime("Date: %a, %d %b %Y %H:%M:%S UTC", time.gmtime()),
        f"Architectures: {architecture}", "Components: nginx", "SHA256:",
    ]  # fmt: skip
    for name in ("Packages", "Packages.gz"):
        data = (dist / place / name).read_bytes()
        lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {place}/{name}")
    (dist / "Release").write_text("".join(f"{line}\n" for line in lines))


def sign(root: Path, suite: str, key: str) -> None:
    """Sign it with a key, which is made where it is not there yet."""
    os.environ["GNUPGHOME"] = str(WORK / "gnupg")
    (WORK / "gnupg").mkdir(mode=0o700, exist_ok=True)
    gpg = ("gpg", "--batch", "--quiet", "--yes", "--passphrase", "")
    for name, kind in (("right", "rsa2048"), ("other", "ed25519")):
        if not (WORK / f"{name}.asc").exists():
            run(*gpg, "--quick-generate-key", f"{name}@example.org", kind, "sign", "never")
            (WORK / f"{name}.asc").write_text(run(*gpg, "--armor", "--export", name) + "\n")
    release = root / "dists" / suite / "Release"
    signed = release.with_name("InRelease")
    run(*gpg, "--local-user", key, "--output", str(signed), "--clearsign", str(release))


def main() -> None:
    """Make what is asked for, whole and anew."""
    asked = json.loads(sys.argv[1])
    root = Path(asked["root"])
    shutil.rmtree(root, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    packages(root, asked)
    index(root, asked["suite"])
    sign(root, asked["suite"], "right")


if __name__ == "__main__":
    main()
