"""`fanwise top`: a running server's numbers in a terminal.

    command     the command line, and the loop that asks again and again
    screen      what it looks like on a terminal (rich, an extra); plain: as lines of text, without anything
    picture     what is shown: the tiles and tables, made of documents of /stats

It knows a server by `GET /stats` alone; rates are made of two documents (`rates`).
"""
