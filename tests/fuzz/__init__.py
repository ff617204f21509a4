"""What strangers send, made at random: by hypothesis in every run, guided by coverage under `tox -e fuzz`.

world     a server in its own loop, and what must hold after each input
targets   what becomes of an input: bytes in, an exception if something does not hold
inputs    how hypothesis makes inputs
guided    runs a target under atheris
corpus/   one folder for each target; every run replays its files
"""
