"""What is asked: skills, topics, prompts, combinations, settings, and what the paper prints."""
