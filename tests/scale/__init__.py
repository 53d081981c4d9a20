"""What must stay true when there is much of everything."""
