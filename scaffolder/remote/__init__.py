"""Workflows on other machines, or in several processes: submitted, followed, fetched, verified again and published."""
