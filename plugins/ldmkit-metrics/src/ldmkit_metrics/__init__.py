"""What `ldmkit evaluate` measures."""
