"""Contract checks for the authors of plugins: a module for each kind of component.

Each `check_...` tries a small component on random inputs and raises AssertionError whose message names the
promise of `ldmkit.interfaces` that is broken.
"""
