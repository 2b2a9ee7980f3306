"""`ldmkit report`: one HTML file that shows a run: recipe, curves, pictures over the steps, figures."""

from ldmkit.verbs.report.page import write_report

__all__ = ["write_report"]
