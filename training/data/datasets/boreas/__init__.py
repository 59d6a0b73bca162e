"""The Boreas data set."""
