"""A run of the load generator: its processes, its phases and its figures.

    capacity         several runs: where the knee is
    comparison       two runs: by which factor two servers differ
    conductor        starts the processes, takes them from phase to phase
    worker           a process: publishers and a share of the clients
    results          the figures, from the snapshots of all workers
    bottleneck       whether the figures are the server's or the generator's own
    closings         when a Fanwise server ended connections, as it says itself
    servers          the servers that it can start
    baselines        the two servers that Fanwise is measured against
    shared_counters  numbers in memory that all workers share
    meter            CPU and memory of processes

A run is several processes: one has the conductor, which starts the workers.
"""
