"""The web: health, metrics, pages, REST. Gets what it shows by argument."""
