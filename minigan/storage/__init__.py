"""Files written whole and read with suspicion; checkpoints; a trained generator."""
