"""Access: keys and tokens of readers, publishers and operators, hosts, and origins of pages.

    guards        `Access`: keys, tokens, hosts and origins in one check; and the dependencies of routes that ask it
    settings      the settings of access
    credentials   what a connection has brought, as a rule that rights ask
    keys          the keys
    tokens        JSON Web Tokens, read
    signing_keys  the keys that tokens are signed with: of a file, or of a set that changes
    key_sets      sets of keys, read out of files and from issuers
    grants        what a token gives
    origins       which pages may connect
    hosts         which hosts the server answers for

Routes and handshakes ask this room; it knows none of them.
"""
