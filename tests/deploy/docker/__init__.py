"""Does the image hold what it needs, and nothing that it must not?"""
