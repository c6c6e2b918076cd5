"""Drift monitor: does the traffic still resemble the examples that the exits were calibrated on?"""
