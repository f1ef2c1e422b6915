"""SKILL-MIX: asks students, has their texts graded and counts. Has never heard of a gradient."""
