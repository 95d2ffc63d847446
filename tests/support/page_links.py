"""Finds faults in the links and names of a folder of pages; for tests only."""

from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

from rlvr_dynamics.extrapolation import METHODS

ARXIV = "https://arxiv.org/abs/"
PAPERS = {method.paper for method in METHODS.values()}


class Links(HTMLParser):
    """Links, names and pictures of one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.links += [given["href"]] if given.get("href") else []
        self.ids += [given["id"]] if given.get("id") else []
        self.sources += [given["src"]] if given.get("src") else []


def faults(folder: Path) -> list[str]:
    """Return duplicate names, external pictures, and dead links."""
    pages = {path: Links(path) for path in (folder / "index.html", *folder.glob("cells/*.html"))}
    found = []
    for path, page in pages.items():
        found += [f"{path.name}: {name} twice" for name, n in Counter(page.ids).items() if n > 1]
        found += [f"{path.name}: {src}" for src in page.sources if not src.startswith("data:")]
        for link in page.links:
            file, _, place = link.partition("#")
            target = (path.parent / file).resolve() if file else path.resolve()
            inside = {known.resolve(): parsed for known, parsed in pages.items()}
            dead = not target.exists() or (place and place not in inside[target].ids)
            if dead and link not in PAPERS and not link.startswith(ARXIV):
                found.append(f"{path.name}: {link}")
    return found
