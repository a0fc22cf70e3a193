"""Do the manifests hold together, among themselves and with the serve files?"""
