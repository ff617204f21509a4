"""Workers: the processes of one machine that a backplane makes one server.

    launcher   starts workers, restarts, replaces and stops them
    slot       the place of one worker: its listener, its deaths, and the worker that is in it
    worker     one worker process, as its launcher sees it
    member     one worker process, as it sees its launcher
    engine     the private engine of workers that have no other
    port       a TCP port that several listeners share
    processes  child processes that end with their parent
    supervisor tells systemd of this process
    siblings   finds out whether a process is one of several that another program has started

Each worker has a listener of its own on the one port (SO_REUSEPORT, socket(7)): the kernel spreads connections evenly.
The launcher makes all listeners and hands them down. So a worker that takes the place of another one accepts what
waited for that, and no connection is refused. A worker that died takes its listener with it: the others get its share.
"""
