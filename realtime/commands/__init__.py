"""The command line: options parsed, checked and dispatched. Nothing else."""
