"""What the command line's verbs do, for scripts as well."""

from __future__ import annotations

VERBS = {
    "run": "Make what a recipe needs and has not, then its pictures.",
    "train": "Train a recipe's stages.",
    "sample": "Make pictures from weights that are there already.",
    "evaluate": "Measure a trained recipe.",
    "report": "Write a page that shows a training.",
    "runs": "List the trainings at hand, or clean them.",
    "encode": "Turn a folder of pictures into latents.",
    "decode": "Turn latents back into pictures.",
    "check": "Check a recipe; touches neither data nor weights.",
    "diff": "Say in which values two recipes differ.",
    "doctor": "Look at this machine: versions, devices, plugins, room, speed.",
    "plugins": "List what the installed plugins provide.",
    "recipes": "List the recipes at hand.",
    "schema": "Write the JSON Schema of recipes, for editors.",
    "import": "Read published weights.",
    "export": "Write weights in a published format.",
    "package": "Put a model into a folder or a wheel, with its card.",
    "push": "Upload a packaged model to the hub.",
    "completion": "Print the script that completes commands in a shell.",
    "new-plugin": "Write the skeleton of a plugin.",
}
"""Each verb and its line of help; the verb's module is imported only when it is called."""
