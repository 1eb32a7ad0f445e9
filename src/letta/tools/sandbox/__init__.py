"""Where tools run: a process forked for every call, shut in by the kernel. `host` is the server's side."""
