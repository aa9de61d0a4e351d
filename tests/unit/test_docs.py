"""What the documentation promises about itself: its links lead somewhere, its guides are short, its map is complete."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
ARCHITECTURE = DOCS / "architecture.md"
PACKAGE = ROOT / "operator" / "penstock"
# What is looked up, or read by who wants all of it: the exact rules, recordings, reasons.
LONG = ("reference", "walkthroughs", "decisions")
GUIDES = [
    page
    for page in sorted(DOCS.rglob("*.md"))
    if page.relative_to(DOCS).parts[0] not in LONG and page != ARCHITECTURE  # a map, too
]
MOST_WORDS = 600
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def links(page: Path) -> Iterator[str]:
    """The links of a page to files of this repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE))
    return {heading.strip().replace(" ", "-") for heading in words}


def is_dead(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_every_link_leads_to_a_page_and_a_heading_that_there_is(page: Path) -> None:
    assert [link for link in links(page) if is_dead(page, link)] == []


@pytest.mark.parametrize("sample", sorted((ROOT / "manifests" / "samples").glob("*.yaml")), ids=label)
def test_every_page_that_a_sample_names_is_there(sample: Path) -> None:
    assert [page for page in re.findall(r"docs/[\w/-]+\.md", sample.read_text()) if not (ROOT / page).exists()] == []


@pytest.mark.parametrize("guide", GUIDES, ids=label)
def test_a_guide_is_read_in_a_few_minutes(guide: Path) -> None:
    words = len(guide.read_text(encoding="utf-8").split())
    assert words < MOST_WORDS, f"{words} words: the exact rules belong on a page under docs/reference"


def mapped() -> list[str]:
    """The paths that the architecture page names, each in backquotes."""
    return re.findall(r"`((?:operator|server|helm|docs|tests|crds|manifests)/[\w./-]+)`", ARCHITECTURE.read_text())


def modules() -> list[str]:
    """Every module that has something in it, under the package's folder."""
    return [str(path.relative_to(PACKAGE)) for path in sorted(PACKAGE.rglob("*.py")) if path.stat().st_size]


def map_of_modules() -> dict[str, list[str]]:
    """The module map: the names in each folder's row, the package's own under an empty name."""
    rows = re.findall(r"^\| `([\w]*)/?` \| (.*?) \|", ARCHITECTURE.read_text(), re.MULTILINE)
    return {"" if folder == "penstock" else folder: re.findall(r"`(\w+)`", names) for folder, names in rows}


def test_every_path_of_the_architecture_page_exists() -> None:
    assert len(mapped()) > 20
    assert [path for path in mapped() if not (ROOT / path).exists()] == []


def test_every_module_is_in_the_map_and_in_no_folder_but_its_own() -> None:
    named = {f"{folder}/{name}.py".lstrip("/") for folder, names in map_of_modules().items() for name in names}
    assert named == set(modules())
