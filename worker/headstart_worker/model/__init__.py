"""Predicts what a build would take in each mode, on other machines and with remote executors, from one measured build.

Pure, all of it. Who measures is `commands.advise` and `bench`.
"""
