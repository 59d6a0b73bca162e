"""Published evaluation protocols: image folders, image sets, and runs that ask one another."""
