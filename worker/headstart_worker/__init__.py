"""Serves many compiler jobs at once over the Bazel worker protocol.

The worker is the wrapper in a loop: a request's arguments are the wrapper's command line.
"""
