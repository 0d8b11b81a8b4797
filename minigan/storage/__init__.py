"""Files that are written whole and read with suspicion, checkpoints, and a trained generator."""
