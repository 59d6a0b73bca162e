"""Indoor-like worlds: passages between walls, their fittings, and what changes there from drive to drive."""
