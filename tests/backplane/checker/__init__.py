"""The checker: workers, publishers and clients on a real engine, faults, and then the invariants.

python -m tests.backplane.checker [FAULT ...] [--rounds N] [--seconds S] [--mutants]

record      what happened, append-only, with monotonic times
invariants  what must hold of a record, whatever happened
reader      a client as its user sees it: what it hears goes into the record
worker      a server in this process
process     a server in a process of its own, with real WebSockets
gate        what is between a worker and the engine: passes bytes on, holds them, cuts, loses subscriptions
engines     engines with replicas and sentinels, and what can happen to them
clock       an engine whose clock can be set
scene       workers, clients and publishers around engines
faults      the table of faults, and what clients may be told of each
link_faults, engine_faults, failovers, process_faults: what happens to links, engines, primaries, workers
nats_faults what happens to NATS
mutants     the product with a mistake in it: what the checker must catch
rounds      runs faults, and prints what came of them
"""
