"""The Hugging Face folder: `model_index.json` and a sub-folder a component, or one component by itself."""
