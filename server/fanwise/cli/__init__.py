"""The command line. The only room that reads flags.

    main      the group of all commands, and `serve`
    commands  `publish` and `subscribe`: the Python client on the command line
    bench     `bench`: the options of the load generator
    doctor    `doctor`: settings in, exit status out
    top       `top`: the loop that asks a server again and again
    interrupts  SIGINT and SIGTERM of commands without an event loop
    flags     commands that take the settings as flags
    pipes     standard input and output beside an event loop

What only one command needs is imported when that command runs: `fanwise publish` starts without FastAPI.
"""
