"""What data sets and tasks of the plug-in share.

Opening data-bins, lengths and the order of an epoch, flags and the dictionary of OctupleMIDI.
"""
