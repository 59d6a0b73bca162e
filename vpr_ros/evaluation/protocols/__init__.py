"""Published evaluation protocols: image folders, image sets, and pairs of runs."""
