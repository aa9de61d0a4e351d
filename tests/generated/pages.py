"""The pages of docs/reference/ that come from code other than the API types.

`python -m tests.generated.pages` writes them (`make generate`). They are written here because the operator and the
server never import each other, and the page of metrics is about both.
"""

from pathlib import Path

from tests.generated import chart_page, metrics_adapter_page, metrics_page, operator_page, router_page, server_page

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def generated() -> dict[Path, str]:
    """Every page, and what it has to hold."""
    return {
        REFERENCE / "chart.md": chart_page.render(),
        REFERENCE / "metrics-adapter.md": metrics_adapter_page.render(),
        REFERENCE / "metrics.md": metrics_page.render(),
        REFERENCE / "operator.md": operator_page.render(),
        REFERENCE / "router.md": router_page.render(),
        REFERENCE / "server.md": server_page.render(),
    }


if __name__ == "__main__":
    for path, text in generated().items():
        path.write_text(text, encoding="utf-8")
