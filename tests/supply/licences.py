"""Whose licences the libraries have that come with inferkit, from its SBOM (CycloneDX); ``make sbom`` runs it."""

import json
import sys
from pathlib import Path
from typing import Any

UNKNOWN = "not told"
LONGEST = 60
"""Characters of what some packages have in place of a licence's name: its whole text."""


def licence(component: dict[str, Any]) -> str:
    """Return what a package says of its licence: SPDX where it says so, else its own words."""
    said = [entry.get("expression") or _named(entry.get("license", {})) for entry in component.get("licenses", [])]
    return " · ".join(dict.fromkeys(text for text in said if text)) or UNKNOWN


def _named(told: dict[str, str]) -> str:
    words = told.get("id") or told.get("name", "").rpartition(" :: ")[2]
    return " ".join(words.split())[:LONGEST]


def table(bom: dict[str, Any]) -> str:
    """Return a row per package: name, version, licence."""
    rows = sorted((part["name"].lower(), part.get("version", ""), licence(part)) for part in bom.get("components", []))
    cells = [("package", "version", "licence"), ("---", "---", "---"), *rows]
    return "\n".join(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in cells) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table(json.loads(Path(sys.argv[1]).read_text())))
