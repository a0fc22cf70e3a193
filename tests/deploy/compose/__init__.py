"""Is the compose file one, and does what it mounts exist?"""
