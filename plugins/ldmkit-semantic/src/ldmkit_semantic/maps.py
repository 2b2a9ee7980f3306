"""Converts semantic maps, as users and data sets give them, to class ids."""

from ldmkit.pictures import class_maps

__all__ = ["class_maps"]
