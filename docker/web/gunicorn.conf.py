"""How gunicorn serves the site in its container."""

import os

bind = "0.0.0.0:8000"
worker_class = "gthread"
workers = int(os.environ.get("WEB_CONCURRENCY", "2"))
# As many as the pool of each database has connections.
threads = int(os.environ.get("WEB_THREADS", "8"))
# The file system is read only, and a heartbeat has no business on a disk.
worker_tmp_dir = "/dev/shm"  # noqa: S108 - not for files of ours
# Its home for a control socket is there neither.
control_socket_disable = True
# After SIGTERM no request is accepted, and those under way have so many seconds. Compose waits a little longer.
graceful_timeout = 30
loglevel = "warning"
