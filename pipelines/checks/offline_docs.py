"""Great Expectations' pages made to render with no network: CDN addresses become files beside them, the rest goes.

Its templates load about fifteen assets from CDNs and a logo that reports who opened which page. The assets come from
npm packages fetched at set-up (package.json); where those are missing the pages stay readable, without style.
"""

import re
import shutil
from pathlib import Path

from feature_repo.settings import PROJECT_ROOT

PACKAGES = PROJECT_ROOT / ".parts" / "node_modules"
VENDOR = Path("static") / "vendor"
FILTER_CONTROL = "bootstrap-table/dist/extensions/filter-control/bootstrap-table-filter-control.min"
ASSETS = {
    r"bootstrap-table@[\d.]+/dist/bootstrap-table\.min\.css": "bootstrap-table/dist/bootstrap-table.min.css",
    r"bootstrap-table@[\d.]+/dist/bootstrap-table\.min\.js": "bootstrap-table/dist/bootstrap-table.min.js",
    r"bootstrap-table-filter-control(?:\.min)?\.css": f"{FILTER_CONTROL}.css",
    r"bootstrap-table-filter-control(?:\.min)?\.js": f"{FILTER_CONTROL}.js",
    r"bootstrap-datepicker(?:\.min)?\.css": "bootstrap-datepicker/dist/css/bootstrap-datepicker.min.css",
    r"bootstrap-datepicker(?:\.min)?\.js": "bootstrap-datepicker/dist/js/bootstrap-datepicker.min.js",
    r"bootstrap/[\d.]+/css/bootstrap\.min\.css": "bootstrap/dist/css/bootstrap.min.css",
    r"bootstrap/[\d.]+/js/bootstrap\.min\.js": "bootstrap/dist/js/bootstrap.min.js",
    r"font-awesome/[\d.]+/css/all\.min\.css": "@fortawesome/fontawesome-free/css/all.min.css",
    r"jquery-[\d.]+\.min\.js": "jquery/dist/jquery.min.js",
    r"popper\.js/[\d.]+/umd/popper\.min\.js": "popper.js/dist/umd/popper.min.js",
    r"npm/vega@\d+": "vega/build/vega.min.js",
    r"npm/vega-lite@\d+": "vega-lite/build/vega-lite.min.js",
    r"npm/vega-embed@\d+": "vega-embed/build/vega-embed.min.js",
}
"""The end of an address on a page -> the file in the npm packages."""

FONTS = (
    "@fortawesome/fontawesome-free/webfonts/fa-solid-900.woff2",
    "@fortawesome/fontawesome-free/webfonts/fa-regular-400.woff2",
)
REMOTE = r"(?:https?:)?//[^\"'\s)>]+"
LOADED = re.compile(rf"""(?P<before>(?:src|href)=["'])(?P<address>{REMOTE})(?P<after>["'])""")


def make_offline(site: Path, packages: Path = PACKAGES) -> None:
    """Rewrite every page and style sheet under `site` so that nothing is loaded, or linked, from another host."""
    if not site.exists():
        return
    for package_file in [*ASSETS.values(), *FONTS]:
        _copy(packages / package_file, site / VENDOR / package_file)
    for page in site.rglob("*.html"):
        up = "../" * (len(page.relative_to(site).parts) - 1)
        page.write_text(offline_page(page.read_text(encoding="utf-8"), up, packages), encoding="utf-8")
    for style in (site / "static" / "styles").glob("*.css"):
        style.write_text(_without_remote_styles(style.read_text(encoding="utf-8")), encoding="utf-8")


def offline_page(html: str, up: str, packages: Path = PACKAGES) -> str:
    """The page with local assets; `up` leads from the page to the site's root ("../../")."""
    html = re.sub(r"""\s(?:integrity|crossorigin)=["'][^"']*["']""", "", html)
    html = re.sub(r"""(?<=["'])(?:\.\./)*(?=static/)""", up, html)  # its own paths are one level short on some pages
    html = LOADED.sub(lambda found: _local(found, up, packages), html)
    html = re.sub(rf"<link\b[^>]*{REMOTE}[^>]*>", "", html)
    html = re.sub(rf"<script\b[^>]*src=[\"']{REMOTE}[^>]*>\s*</script>", "", html)
    html = re.sub(rf"<(?:img|iframe)\b[^>]*src=[\"']{REMOTE}[^>]*>", "", html)
    html = re.sub(rf"""(<a\b[^>]*?)\shref=["']{REMOTE}["']""", r"\1", html)
    html = re.sub(rf"""['"]\$schema['"]:\s*['"]{REMOTE}['"],?\s*""", "", html)
    return _without_remote_styles(html)


def _local(found: re.Match[str], up: str, packages: Path) -> str:
    for pattern, package_file in ASSETS.items():
        if re.search(rf"/{pattern}$", found["address"]) and (packages / package_file).exists():
            return f"{found['before']}{up}{(VENDOR / package_file).as_posix()}{found['after']}"
    return found[0]


def _without_remote_styles(css: str) -> str:
    css = re.sub(rf"@import\s+(?:url\()?[\"']?{REMOTE}[\"']?\)?[^;]*;", "", css)
    return re.sub(rf"url\(\s*[\"']?{REMOTE}[\"']?\s*\)", "none", css)


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
