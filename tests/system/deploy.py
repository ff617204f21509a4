"""The files of `deploy/`, by the tools that read them: `tox -e deploy`. A tool that is not there is skipped by name."""

from __future__ import annotations

import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml

from ..support.processes import ROOT

DEPLOY = ROOT / "deploy"


def run(tool: str, *args: str, cwd: Path = DEPLOY) -> str:
    """What a tool says of a file that it accepts; the test fails if it does not."""
    path = shutil.which(tool) or shutil.which(f"/usr/sbin/{tool}")
    if path is None:
        pytest.skip(f"there is no {tool} in PATH")
    done = subprocess.run([path, *args], check=False, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_dockerfile_has_no_known_mistake() -> None:
    """Hadolint."""
    run("hadolint", "Dockerfile")


@pytest.mark.timeout(600)
def test_the_steps_of_the_dockerfile_build_a_server(tmp_path: Path) -> None:
    """In a folder that has what it copies, and nothing else."""
    text = (DEPLOY / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(.+) (\S+)$", text, re.MULTILINE)
    for names, target in copied:
        for name in names.split():
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tmp_path / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, tmp_path)
    (wanted,) = re.findall(r"pip install --no-cache-dir '(\S+)'", text)
    venv.create(tmp_path / "venv", with_pip=True)
    run(str(tmp_path / "venv/bin/pip"), "install", "--quiet", wanted, cwd=tmp_path)
    assert "fanwise" in run(str(tmp_path / "venv/bin/fanwise"), "--version").lower()


@pytest.mark.parametrize(
    "document", list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())), ids=lambda one: one["kind"]
)
def test_kubernetes_knows_every_field(document: object) -> None:
    """By the schemas of two versions."""
    validator = pytest.importorskip("kubernetes_validate")
    for version in ("1.30", "1.33"):
        validator.validate(document, version, strict=True)


def test_services_of_compose_have_their_files() -> None:
    """Each file that is mounted is there; only loopback is published."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        for volume in service.get("volumes", ()):
            assert (DEPLOY / volume.split(":")[0]).is_file()
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_prometheus_reads_its_files(tmp_path: Path) -> None:
    """Promtool."""
    run("promtool", "check", "rules", "prometheus-alerts.yml")
    text = (DEPLOY / "prometheus.yml").read_text().replace("/tmp/key", str(tmp_path / "key"))
    (tmp_path / "key").write_text("long-enough-key")
    (tmp_path / "prometheus.yml").write_text(text)
    shutil.copy(DEPLOY / "prometheus-alerts.yml", tmp_path)
    run("promtool", "check", "config", "prometheus.yml", cwd=tmp_path)


def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """With a program that is there."""
    for unit in DEPLOY.glob("fanwise.s*"):
        (tmp_path / unit.name).write_text(
            unit.read_text().replace("/opt/fanwise/.venv/bin/fanwise", shutil.which("true") or "")
        )
    said = run("systemd-analyze", "verify", *map(str, sorted(tmp_path.iterdir())))
    assert not [line for line in said.splitlines() if "fanwise." in line and "Command" not in line]


def test_haproxy_and_caddy_read_their_files(tmp_path: Path) -> None:
    """With a certificate that is there."""
    trustme = pytest.importorskip("trustme")
    trustme.CA().issue_cert("chat.example").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "cert.pem"))
    text = (DEPLOY / "haproxy.cfg").read_text().replace("/etc/haproxy/chat.example.pem", str(tmp_path / "cert.pem"))
    (tmp_path / "haproxy.cfg").write_text(text)
    run("haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg"))
    run("caddy", "validate", "--config", "Caddyfile", "--adapter", "caddyfile")
