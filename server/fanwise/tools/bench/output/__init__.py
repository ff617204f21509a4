"""The figures of a run, for people and for programs.

    progress  while a run lasts: a progress bar, or a line a second
    console   the figures in words
    json      the figures as plain data
    html      the figures as one page
    charts    SVG charts

Each is made when the run is over, but for `progress`.
"""
