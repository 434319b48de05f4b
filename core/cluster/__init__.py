"""Ray: a job's work in hands, each computed by a worker somewhere in the cluster. https://docs.ray.io

The process that executes the job (core/jobs/execute.py) is the driver, and the only one that writes the run's folder. Workers keep nothing:
what a hand needs is sent to it, what it makes comes back as it is made, checkpoints among it. So no node needs a disk in common
with another, and a hand whose worker or node died goes on elsewhere from what had arrived.

Ray schedules, places and watches the hands; a task that dies is not tried again by Ray, which would begin it anew, but dealt again here
with its last checkpoint. When the head is gone the driver ends, and the run's worker starts it again (core/jobs/worker.py).

`ray` is an extra (requirements-ray.txt): nothing here is imported where LYCEUM_EXECUTOR is not ray.
"""
