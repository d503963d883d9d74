"""Files that are not what they should be, made by the thousand from good ones: whatever is read
from outside must answer with an error of ours, at once, in little memory, and touch nothing else.
"""
