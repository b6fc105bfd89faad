"""What this machine can do for Headstart: probes that try a thing and tell what came of it, and their report.

Each module below probes one kind of thing and only gives `Finding`s; `commands.doctor` runs them all.
"""
