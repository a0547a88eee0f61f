"""Engine of private estimators: accounting, exact noise, selection, bounds.

Everything random here comes from the operating system's generator, in integers only.
"""
