"""What strangers send, made at random: by hypothesis in every run, guided by coverage under `tox -e fuzz`.

world     a server in its own loop, and what must hold after each input
targets   what becomes of an input: bytes in, an exception if something does not hold
inputs    how hypothesis makes inputs
guided    runs a target under atheris
corpus/   one folder for each target; every run replays its files

The suite counts examples and not seconds: a busy machine would find less in a minute, and a run has three minutes for
all. Each run makes other inputs, in CI too. Sixty seconds for each target are those of `tox -e fuzz`. A find goes into
the corpus.
"""
