"""Many homes in one process, on a virtual clock."""
