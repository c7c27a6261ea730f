"""What is done with a screen when it stands: nothing, or a picture."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Look = Callable[[Any, str], Awaitable[None]]
"""`look(page, name of the screen)`."""


async def glance_over(page: Any, name: str) -> None:
    """Looks at nothing."""


class Album:
    """Numbered pictures of the screens as people see them, in one folder; without a folder, none."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._count = 0

    async def take(self, page: Any, name: str) -> str:
        """The picture's file name, "" when there is none."""
        self._count += 1
        if self.folder is None:
            return ""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = f"{self._count:02}-{name}.png"
        await page.screenshot(path=self.folder / file, animations="disabled")
        return file
