"""From a reply to points and marks; pure functions."""
