"""An nginx of our own in front of a server, configured by `deploy/nginx.conf`."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Self

import pytest
import trustme

from .processes import ROOT, free_port, wait_until_it_listens

NAME = "chat.example"
PREFIX = "/below"  # a second location of the same server: what the file's comment says of prefixes
_MAIN = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/log;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def binary() -> str:
    """The path of nginx; skips the test where there is none."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if found is None:
        pytest.skip("there is no nginx in PATH")
    return found


class Nginx:
    """A proxy over TLS in front of a server on loopback.

    Args:
        folder: For its files.
        server_port: The server's.
        edit: Pairs of texts: what is replaced in the configuration, and by what.
    """

    def __init__(self, folder: Path, server_port: int, *edit: tuple[str, str]) -> None:
        self.port = free_port()
        ca = trustme.CA()
        ca.issue_cert(NAME, "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "cert.pem"))
        self.context = ssl.create_default_context()
        ca.configure_trust(self.context)
        (folder / "site.conf").write_text(_configuration(folder, self.port, server_port, edit))
        user = "user root;" if os.geteuid() == 0 else ""  # who may write into the folder
        (folder / "nginx.conf").write_text(_MAIN.format(folder=folder, user=user))
        self._argv = [binary(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "log")]
        self._folder = folder

    def __enter__(self) -> Self:
        """Starts it. Raises RuntimeError if it ends."""
        self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
        wait_until_it_listens(self._process, self.port, (self._folder / "log").read_text)
        return self

    def __exit__(self, *exc: object) -> None:
        """Stops it."""
        self._process.terminate()
        self._process.wait()


def _configuration(folder: Path, port: int, server_port: int, edit: tuple[tuple[str, str], ...]) -> str:
    text = (ROOT / "deploy" / "nginx.conf").read_text()
    own = [
        ("listen 443 ", f"listen 127.0.0.1:{port} "),
        ("/etc/ssl/chat.example.pem", f"{folder}/cert.pem"),
        ("/etc/ssl/chat.example.key", f"{folder}/cert.pem"),
        ("server 127.0.0.1:8000;", f"server 127.0.0.1:{server_port};"),
    ]
    for old, new in (*own, *edit):
        assert old in text, old
        text = text.replace(old, new)
    begin = text.index("    location / {")
    end = text.index("    }\n", begin) + len("    }\n")
    below = (
        text[begin:end].replace("location / {", f"location {PREFIX}/ {{").replace("http://fanwise;", "http://fanwise/;")
    )
    return text[:end] + below + text[end:]
