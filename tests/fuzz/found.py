"""Inputs that broke a border once, by its name, in hex. Each was refused by name only after a change of the code."""

from __future__ import annotations

FOUND: dict[str, list[str]] = {
    "portal network": ["7b2267656e65736973223a22303137ff31323230616222"],
}
