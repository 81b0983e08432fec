"""Run workflows: what is up to date is left alone, the rest runs aside and is published when it works."""
