"""The guidance of an imported model, which published files do not hold: what draws them has a default."""

from __future__ import annotations

from ldmkit.interchange.model import Published


def guide(published: Published, scale: float, why: str) -> None:
    """Adds classifier-free guidance, first, and a line that says where its scale comes from."""
    own = {"name": "classifier-free", "scale": scale}
    published.recipe["guidance"] = [own, *published.recipe.get("guidance", ())]
    published.notes.append(f"guidance: scale {scale:g}, {why}; --guidance takes another")
