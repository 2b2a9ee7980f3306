"""Lists of pictures that notebooks show as a grid."""

from __future__ import annotations

import io

import PIL.Image

from ldmkit.pictures.png import grid


class Pictures(list[PIL.Image.Image]):
    """A list of pictures, shown by notebooks as a grid."""

    def grid(self, columns: int | None = None) -> PIL.Image.Image:
        """All of them in one picture, `columns` in a row (by default about square); ValueError for none."""
        if not self:
            raise ValueError("there is no picture to show")
        return grid(self, columns)

    def _repr_png_(self) -> bytes | None:
        if not self:
            return None
        with io.BytesIO() as file:
            self.grid().save(file, "PNG")
            return file.getvalue()
