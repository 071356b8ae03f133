"""What people look at first."""
