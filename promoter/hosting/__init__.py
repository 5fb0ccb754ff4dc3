"""Who hosts a Git repository, and with which token it is asked."""
