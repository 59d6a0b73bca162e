"""A student for one's own streets: its trunk stays, its maps are computed once, and what follows them is trained."""
