"""`fanwise top`: a running server's numbers in a terminal.

    watch    the loop: asks for documents, shows pictures
    keys     single keys of the terminal, read meanwhile
    screen   a picture on a terminal (rich)
    plain    a picture as lines of text
    picture  tiles and tables, made of documents of /stats
    trends   the latest values of the tiles, and lines of blocks that show them

The command knows a server by `GET /stats` alone; rates are made of two documents (`tools.rates`).
"""
