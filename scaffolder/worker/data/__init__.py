"""Example files: read, judged, compared, counted, split and converted, in memory that does not grow with them."""
