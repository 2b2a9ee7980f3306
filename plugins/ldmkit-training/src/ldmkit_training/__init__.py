"""Optimizers, auxiliary losses and callbacks for ldmkit's trainings."""
