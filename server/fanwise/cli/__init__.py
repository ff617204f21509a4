"""The command line: one module per command. The only room that reads flags.

    main        the group of all commands
    serve, config, publish, subscribe, bench, doctor, top, trace, tune
    launch      what `serve --workers N` runs
    flags       commands that take the settings as flags
    recordings  traces in files, for `bench --replay`
    client      what `publish` and `subscribe` share
    pipes       standard input and output beside an event loop
    interrupts  SIGINT and SIGTERM of commands without an event loop

A command imports what only that command needs when the command runs: `fanwise publish` starts without FastAPI.
"""
