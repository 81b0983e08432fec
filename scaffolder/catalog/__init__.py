"""Data files that the template and the command share."""
