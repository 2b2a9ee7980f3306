"""Adapters: small weights that change a trained system of ldmkit."""
