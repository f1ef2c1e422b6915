"""The paper's tables as a plan: what is done, what is missing, what it costs."""
