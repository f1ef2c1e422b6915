"""What a training step needs on hardware that is not here: bytes and seconds, by arithmetic and by the compilers."""
