"""The drift monitor: does what comes in still look like what the exits were calibrated on?"""
