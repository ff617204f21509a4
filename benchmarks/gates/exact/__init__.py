"""The exact gate: what can be counted to the last one, in this tree and in a revision, side by side.

figures     what a gate counts, and the verdicts on it
counting    runs one part, in a process of its own
clock       seconds that pass when they are told to
observed    runs a whole server that can be asked, in a process of its own
peers       connections to that server
memory      bytes per connection
calls       system calls per delivery, and what an idle server does
virtual     an event loop whose clock moves when nothing else does
latency     turns of the event loop, and seconds of that clock, until clients are served
wakeups     how often a server wakes up in a second in which nothing happens
"""
