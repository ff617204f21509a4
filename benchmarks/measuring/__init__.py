"""How benchmarks are measured where they are saved and compared: in a way that holds on a machine that does more.

plugin      pytest's hooks: the way, what a saved run names, and what it is not compared with
fixture     rounds and iterations
callgrind   instructions, counted by valgrind: the way by default
counted     the program that valgrind runs: pytest, with clocks that do not depend on the machine
cpu_ratio   CPU time beside that of a fixed load, where there is no valgrind
"""
