"""Runs one compiler job: its own process group, its early outputs, its usage.

This package knows nothing of hosts, requests or the worker protocol; `headstart_worker` does.
"""
