"""Jobs: submit a config, follow it, cancel it, resume it.

local.py is the door, and tells how it all holds together. worker.py waits for a job's turn, execute.py does the work,
endings.py knows what is dead, locks.py is flock; configure.py, arguments.py and watch.py are what the command line is made of.
"""
