"""Published formats: the paper's single file and the Hugging Face folder."""
