"""The published single file: one state dict beside a YAML configuration, as the paper's code writes them."""
