"""`fanwise top`: a running server's numbers in a terminal.

    watch    the loop: asks for documents, shows pictures
    screen   a picture on a terminal (rich)
    plain    a picture as lines of text
    picture  tiles and tables, made of documents of /stats

The command knows a server by `GET /stats` alone; rates are made of two documents (`tools.rates`).
"""
